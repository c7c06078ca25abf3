package app_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	dto "github.com/prometheus/client_model/go"

	"penstock/consumer"
	"penstock/internal/app/config"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

const (
	alertsFile = "../../deploy/alerts.yml"
	opsPage    = "../../docs/operations.md"
	opsLink    = "docs/operations.md#"
)

// alert is a rule of deploy/alerts.yml. It must have all of these fields, and no others.
type alert struct {
	Alert  string `yaml:"alert"`
	Expr   string `yaml:"expr"`
	For    string `yaml:"for"`
	Labels struct {
		Severity string `yaml:"severity"`
	} `yaml:"labels"`
	Annotations struct {
		Summary string `yaml:"summary"`
		Runbook string `yaml:"runbook"`
	} `yaml:"annotations"`
}

func alerts(t testing.TB) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string  `yaml:"name"`
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.UnmarshalWithOptions([]byte(readText(t, alertsFile)), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	groups := map[string]bool{}
	for _, group := range file.Groups {
		if group.Name == "" || groups[group.Name] || len(group.Rules) == 0 {
			t.Errorf("group %q has no name, no rules or is there twice", group.Name)
		}
		groups[group.Name] = true
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("there are no alerts")
	}
	return all
}

func readText(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	codeBlock  = regexp.MustCompile("(?ms)^```.*?^```$")
	headings   = regexp.MustCompile(`(?m)^(#+) (.+)$`)
	noAnchor   = regexp.MustCompile(`[^a-z0-9 _-]`)
	pageLink   = regexp.MustCompile(`\]\(#([^)]*)\)`)
	selectors  = regexp.MustCompile(`(penstock_[a-z_]+)(?:\{([^}]*)\})?`)
	matchers   = regexp.MustCompile(`^\s*([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*$`)
	groupings  = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	templates  = regexp.MustCompile(`\$labels\.(\w+)`)
	alertNames = regexp.MustCompile("`(Penstock[A-Za-z]+)`")
)

// anchorsOf maps the anchors of a page, as GitHub makes them, to their headings' levels.
func anchorsOf(page string) map[string]int {
	anchors := map[string]int{}
	for _, m := range headings.FindAllStringSubmatch(codeBlock.ReplaceAllString(page, ""), -1) {
		anchors[strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(m[2]), ""), " ", "-")] = len(m[1])
	}
	return anchors
}

// groupedBy are the labels that an expression groups or joins by.
func groupedBy(expr string) (labels []string) {
	for _, m := range groupings.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(m[1], ",") {
			labels = append(labels, strings.TrimSpace(label))
		}
	}
	return labels
}

func TestAlertsAreComplete(t *testing.T) {
	t.Parallel()
	anchors := anchorsOf(readText(t, opsPage))
	names := map[string]bool{}
	for _, a := range alerts(t) {
		if a.Alert == "" || names[a.Alert] {
			t.Errorf("alert %q has no name, or is there twice", a.Alert)
		}
		names[a.Alert] = true
		if wait, err := config.ParseDuration(a.For); err != nil || wait < 0 {
			t.Errorf("%s: for: %q is no duration: %v", a.Alert, a.For, err)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels.Severity) {
			t.Errorf("%s: severity %q", a.Alert, a.Labels.Severity)
		}
		if a.Annotations.Summary == "" {
			t.Errorf("%s has no summary", a.Alert)
		}
		for _, m := range templates.FindAllStringSubmatch(a.Annotations.Summary, -1) {
			if !slices.Contains(groupedBy(a.Expr), m[1]) {
				t.Errorf("%s: the summary shows the label %s, which the expression does not keep", a.Alert, m[1])
			}
		}
		anchor, ok := strings.CutPrefix(a.Annotations.Runbook, opsLink)
		if !ok || anchors[anchor] == 0 {
			t.Errorf("%s: runbook %q is no heading of docs/operations.md", a.Alert, a.Annotations.Runbook)
		}
	}
}

func TestAlertsAreDocumented(t *testing.T) {
	t.Parallel()
	page := readText(t, opsPage)
	var inFile, onPage []string
	for _, a := range alerts(t) {
		inFile = append(inFile, a.Alert)
	}
	for _, m := range alertNames.FindAllStringSubmatch(page, -1) {
		onPage = append(onPage, m[1])
	}
	slices.Sort(inFile)
	slices.Sort(onPage)
	if !slices.Equal(inFile, slices.Compact(onPage)) {
		t.Errorf("alerts.yml has %v, docs/operations.md %v", inFile, onPage)
	}
	anchors := anchorsOf(page)
	for _, m := range pageLink.FindAllStringSubmatch(page, -1) {
		if anchors[m[1]] == 0 {
			t.Errorf("docs/operations.md links to #%s, which is no heading", m[1])
		}
	}
}

func TestAlertsCoverEveryReason(t *testing.T) {
	t.Parallel()
	anchors := anchorsOf(readText(t, opsPage))
	for _, reason := range consumer.Reasons() {
		section := ""
		for anchor, level := range anchors {
			if level == 3 && strings.HasPrefix(anchor, string(reason)+"-") {
				section = anchor
			}
		}
		if section == "" {
			t.Errorf("docs/operations.md has no subsection on %s", reason)
		}
		if !slices.ContainsFunc(alerts(t), func(a alert) bool {
			return strings.Contains(a.Expr, `penstock_gate_closed{reason="`+string(reason)+`"}`) && a.Annotations.Runbook == opsLink+section
		}) {
			t.Errorf("no alert on %s leads to its section %q", reason, section)
		}
	}
}

// known is what a service exports: metric → label → values.
type known map[string]map[string][]string

func (k known) add(name string, m *dto.Metric, more ...string) {
	if k[name] == nil {
		k[name] = map[string][]string{}
	}
	for _, label := range m.GetLabel() {
		k[name][label.GetName()] = append(k[name][label.GetName()], label.GetValue())
	}
	for _, label := range more {
		k[name][label] = nil
	}
}

// exported asks a service that runs, and that has met a code that no table knows: before, that metric is not there.
func exported(t testing.TB) known {
	t.Helper()
	w := newWorld(t, sfsim.Config{Troubles: []sfsim.Trouble{{
		Kind: sfsim.FailRecord, Code: "NOVEL_CODE", Operations: []sfsim.Operation{sfsim.OpUpsert}, Count: 1,
	}}})
	service := w.run(w.config(askedQueries + workload.Mappings))
	carries(t, w, service)
	all := known{}
	eventually(t, 20*time.Second, "a letter can be counted", func() bool {
		clear(all)
		families, err := service.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if family.GetType() != dto.MetricType_HISTOGRAM {
					all.add(family.GetName(), m)
					continue
				}
				all.add(family.GetName()+"_bucket", m, "le")
				all.add(family.GetName()+"_sum", m)
				all.add(family.GetName()+"_count", m)
			}
		}
		return all["penstock_dead_letters"] != nil
	})
	return all
}

func TestAlertsUseMetricsThatExist(t *testing.T) {
	t.Parallel()
	metrics := exported(t)
	ofTarget := []string{"job", "instance"} // Prometheus adds them
	for _, a := range alerts(t) {
		used := selectors.FindAllStringSubmatch(a.Expr, -1)
		if len(used) == 0 {
			t.Errorf("%s: the expression has no metric", a.Alert)
		}
		for _, m := range used {
			labels, ok := metrics[m[1]]
			if !ok {
				t.Errorf("%s: there is no metric %s", a.Alert, m[1])
				continue
			}
			for _, label := range groupedBy(a.Expr) {
				if _, ok := labels[label]; !ok && !slices.Contains(ofTarget, label) {
					t.Errorf("%s: %s has no label %s", a.Alert, m[1], label)
				}
			}
			for _, wrong := range mismatches(m[2], labels) {
				t.Errorf("%s: %s{%s}: %s", a.Alert, m[1], m[2], wrong)
			}
		}
	}
}

// mismatches tells which matchers of a selector fit nothing that is exported.
func mismatches(selector string, labels map[string][]string) (wrong []string) {
	if selector == "" {
		return nil
	}
	for part := range strings.SplitSeq(selector, ",") {
		m := matchers.FindStringSubmatch(part)
		if m == nil {
			wrong = append(wrong, part+" cannot be read")
			continue
		}
		name, op, value := m[1], m[2], m[3]
		values, ok := labels[name]
		if !ok {
			wrong = append(wrong, "there is no label "+name)
			continue
		}
		wanted := []string{value}
		if strings.HasSuffix(op, "~") {
			wanted = strings.Split(value, "|")
		}
		for _, v := range wanted {
			if !slices.Contains(values, v) {
				wrong = append(wrong, name+" is never "+v)
			}
			if name == "reason" && !slices.Contains(consumer.Reasons(), consumer.Reason(v)) {
				wrong = append(wrong, v+" is no reason")
			}
		}
	}
	return wrong
}

// TestAlertsPassPromtool lets Prometheus itself look at the file, where it is installed.
func TestAlertsPassPromtool(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", alertsFile).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
