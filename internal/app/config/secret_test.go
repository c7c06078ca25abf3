package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rs/zerolog"
)

func TestASecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	type inner struct{ Secret Secret }
	type outer struct {
		inner inner // fmt cannot call the methods of what is unexported
		URL   URL
	}
	secret, address := NewSecret("hunter2"), NewURL("postgres://u:hunter2@h/d")
	values := []any{
		secret, &secret, address, &address,
		[]Secret{secret},
		map[string]Secret{"a": secret},
		inner{secret},
		&inner{secret},
		outer{inner{secret}, address},
		&outer{inner{secret}, address},
		struct{ u URL }{address},
	}
	var outputs []string
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%t", "%10.3s"} {
			outputs = append(outputs, fmt.Sprintf(verb, v))
		}
		asJSON, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		asYAML, err := yaml.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		var log bytes.Buffer
		logger := zerolog.New(&log)
		logger.Info().Interface("value", v).Any("any", v).Stringer("stringer", secret).Msg("")
		outputs = append(outputs, string(asJSON), string(asYAML), log.String(), fmt.Sprint(v), fmt.Errorf("wrapped %v", v).Error())
	}
	for _, out := range outputs {
		if strings.Contains(out, "hunter2") || strings.Contains(out, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("the secret is shown: %s", out)
		}
	}
	if got := fmt.Sprintf("%v %s", secret, address); got != "*** postgres://u:***@h/d" {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprintf("[%v][%v]", Secret{}, NewURL("")); got != "[][]" {
		t.Errorf("nothing is shown as %s", got)
	}
	if secret.Reveal() != "hunter2" || address.Reveal() != "postgres://u:hunter2@h/d" || secret.IsZero() || !NewSecret("").IsZero() {
		t.Error("Reveal or IsZero is wrong")
	}
}

func TestMaskAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                      "",
		"nats://127.0.0.1:4222":                 "nats://127.0.0.1:4222",
		"nats://u:hunter2@h:4222":               "nats://u:***@h:4222",
		"nats://user:hunter2":                   "nats://***",
		"user:hunter2":                          "***",
		"${HOST}:${PORT:-4222},[::1]:4222":      "${HOST}:${PORT:-4222},[::1]:4222",
		"postgres://?host=h":                    "postgres://?host=h",
		"nats://hunter2@h":                      "nats://***@h",
		"u:hunter2@h:4222":                      "u:***@h:4222",
		"nats://u:hunter2@a,nats://u:hunter2@b": "nats://u:***@b",
		"postgres://u:hun@ter2,/hunter2@h/d":    "postgres://u:***@h/d",
		"postgres://h/d?user=u&password=hunter2&sslmode=disable":     "postgres://h/d?user=u&password=***&sslmode=disable",
		"postgres://u:hunter2@h/d?sslpassword=hunter2":               "postgres://u:***@h/d?sslpassword=***",
		"host=h user=u password=hunter2 dbname=d":                    "host=h user=u password=*** dbname=d",
		"host=h password = 'hunter2 hunter2\\' hunter2' dbname=d":    "host=h password =*** dbname=d",
		"host=h password=hunter2\\ hunter2@hunter2 dbname=d":         "host=h password=*** dbname=d",
		"host=h PASSWORD='hunter2 never closed":                      "host=h PASSWORD=***",
		"${DATABASE_URL:-postgres://u:hunter2@h/d}":                  "${DATABASE_URL:-postgres://u:***@***",
		"postgres://penstock@h/d":                                    "postgres://***@h/d",
		"https://acme.my.salesforce.com":                             "https://acme.my.salesforce.com",
		"postgres://a:5432,b:5432/penstock?target_session_attrs=any": "postgres://a:5432,b:5432/penstock?target_session_attrs=any",
	} {
		if got := maskAddress(text); got != want || strings.Contains(got, "hunter2") {
			t.Errorf("maskAddress(%q) = %q, want %q", text, got, want)
		}
	}
}

// However a file with secrets is broken by one slip of the keyboard, what is told about it does not show them.
func TestNoSlipMakesASecretShow(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("testdata/secrets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	mustParse(t, string(src))
	slips := []string{"", "\n", " ", "  ", "\t", ":", ": ", "-", "- ", "#", " #", "'", "\"", "{", "}", "[", "]", ",", "|", ">", "&", "*", "!", "?", "%", "@", "`", "$", "${", "\\", "x", "\n- ", "~\n"}
	broken := 0
	for i := range len(src) + 1 {
		for j, slip := range slips {
			if (i+j)%3 > 0 {
				continue // a third of them is enough; all take a minute with the race detector
			}
			rest := src[i:]
			if slip == "" { // a character is left out
				rest = src[min(i+1, len(src)):]
			}
			text := string(src[:i]) + slip + string(rest)
			if strings.Count(text, "hunter2") < strings.Count(string(src), "hunter2") {
				continue // the slip went through a secret, which now is another one
			}
			cfg, err := Parse("penstock.yaml", []byte(text), environment)
			if err != nil {
				broken++
				encoded, _ := json.Marshal(err)
				if strings.Contains(err.Error(), "hunter2") || strings.Contains(string(encoded), "hunter2") {
					t.Errorf("%q at %d shows a secret:\n%v\n\nin\n%s", slip, i, err, text)
				}
				continue
			}
			for _, w := range cfg.Warnings() {
				if strings.Contains(w.String(), "hunter2") {
					t.Errorf("%q at %d shows a secret:\n%v\n\nin\n%s", slip, i, w, text)
				}
			}
		}
	}
	t.Logf("%d broken files", broken)
	if broken < len(src)*len(slips)/12 {
		t.Errorf("only %d slips broke anything: the test proves too little", broken)
	}
}
