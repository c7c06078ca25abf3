package config

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"penstock/consumer/mapping"
	"penstock/internal/reads/soql"
	"penstock/sfapi"
)

// environment is what the tests' configurations find in the environment.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"SF_CLIENT_ID":     "consumer-key",
		"SF_CLIENT_SECRET": "from-the-environment",
		"DATABASE_URL":     "postgres://penstock:from-the-environment@127.0.0.1:5432/penstock",
		"LOTS":             "from-the-environment",
		"RECORDS":          "150",
		"EMPTY":            "",
		"NEARLY":           "warm", // what is told about these must not give them away
		"WORDS":            "91 days",
	}[name]
	return value, ok
}

// minimal is the shortest configuration that loads.
const minimal = `source: {stream: CHANGES}
salesforce:
  login_url: https://acme.my.salesforce.com
  auth: {client_id: id, client_secret: "${SF_CLIENT_SECRET}"}
database: {url: "${DATABASE_URL}"}
mappings:
  - name: accounts
    subject: changes.account.*
    object: Account
    external_id: {field: External_ID__c, from: id}
    fields: {Name: name}
`

func mustParse(t *testing.T, src string) *Config {
	t.Helper()
	cfg, err := Parse("penstock.yaml", []byte(src), environment)
	if err != nil {
		t.Fatalf("%v\n\nin\n%s", err, src)
	}
	return cfg
}

func mustFail(t *testing.T, src string) *Problems {
	t.Helper()
	_, err := Parse("penstock.yaml", []byte(src), environment)
	problems, ok := err.(*Problems) //nolint:errorlint // Parse promises this very type
	if !ok || len(problems.List) == 0 {
		t.Fatalf("err = %v (%T), want problems in\n%s", err, err, src)
	}
	return problems
}

func load(t *testing.T, path string) *Config {
	t.Helper()
	cfg, err := Load(path, environment)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestTheExampleOfTheDesignLoadsWithoutAProblem(t *testing.T) {
	t.Parallel()
	got := load(t, "testdata/design.yaml")

	want := Default()
	want.Source.Stream = "CHANGES"
	want.Salesforce.LoginURL = NewURL("https://acme.my.salesforce.com")
	want.Salesforce.Auth.ClientID = "consumer-key"
	want.Salesforce.Auth.ClientSecret = NewSecret("from-the-environment")
	want.Salesforce.ErrorClasses = nil
	want.Ledger.Lease = 60 * time.Second
	want.Database.URL = NewURL("postgres://penstock:from-the-environment@127.0.0.1:5432/penstock")
	want.Mappings = []Mapping{{
		Name:       "accounts",
		Subject:    "changes.account.*",
		Deliver:    Deliver{Policy: DeliverAll},
		When:       `data.kind != "heartbeat"`,
		Object:     "Account",
		ExternalID: ExternalID{Field: "External_ID__c", From: "id"},
		Events:     mapping.Snapshot,
		Ordering:   mapping.NewestWins,
		DeleteWhen: `data.op == "delete"`,
		OnDelete:   OnDelete{Action: mapping.DeleteRecord},
		Fields: Fields{
			{Name: "Name", Kind: mapping.KindPath, Path: "name"},
			{Name: "AnnualRevenue", Kind: mapping.KindExpr, Expr: "data.revenue_cents / 100"},
			{Name: "Type", Kind: mapping.KindValue, Value: "Customer"},
			{Name: "Parent.External_ID__c", Kind: mapping.KindPath, Path: "parent_id"},
		},
		Tripwire: Tripwire{Share: 0.5, Window: 200},
	}}
	want.Queries = []Query{{
		Name:     "accounts_by_industry",
		SOQL:     "SELECT Id, Name, Industry FROM Account WHERE Industry = :industry LIMIT 50",
		Params:   map[string]soql.Type{"industry": soql.String},
		FreshFor: 30 * time.Second,
		MaxStale: 24 * time.Hour,

		MaxResultRecords: 2000,
		MaxResultBytes:   1 << 20,
	}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if warnings := got.Warnings(); len(warnings) > 0 {
		t.Errorf("warnings: %v", warnings)
	}
}

func TestEveryKeyCanBeSet(t *testing.T) {
	t.Parallel()
	got := load(t, "testdata/full.yaml")
	folder, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) File { return File(filepath.Join(folder, name)) }

	want := &Config{
		NATS: NATS{
			URL: NewURL("tls://a.example.com:4222,tls://b.example.com:4222"), CredsFile: "/run/secrets/nats.creds",
			TLS: TLS{CAFile: file("ca.pem"), CertFile: file("cert.pem"), KeyFile: file("key.pem")}, InboxPrefix: "_INBOX_penstock",
		},
		Source: Source{
			Stream: "ORDERS", Durable: "sf", MaxAckPending: 1000, AckWait: 2 * time.Minute, MaxDeliveries: 30,
			MaxInFlight: 500, MaxInFlightBytes: 8_000_000,
		},
		Replay: Replay{Stream: "REPLAY", Subject: "sf.replay", Rate: 0.5, MaxReplays: 2},
		Salesforce: Salesforce{
			LoginURL: NewURL("http://127.0.0.1:9000"), APIVersion: "68.0",
			Auth: Auth{
				Flow: JWTBearer, ClientID: "key", Username: "sync@acme.com", PrivateKeyFile: file("keys/server.key"),
				Audience: "https://test.salesforce.com", RetryInterval: 2 * time.Minute,
			},
			Timeout: 20 * time.Second, MaxConcurrentCalls: 3, CallsPerSecond: 2.5, DailyCallShare: 0.6,
			Headers: Headers{AutoAssign: true, DuplicateRuleAllowSave: true},
			ErrorClasses: map[string]sfapi.Class{
				"UNABLE_TO_LOCK_ROW": sfapi.Transient, "Account.DUPLICATE_VALUE": sfapi.Dependency, "LIMIT_EXCEEDED": sfapi.System,
				"FIELD_INTEGRITY_EXCEPTION": sfapi.Permanent, "API_DISABLED_FOR_ORG": sfapi.Auth,
			},
		},
		Batch:  Batch{MaxRecords: 150, MaxBytes: 512 << 10, Linger: 0},
		Ledger: Ledger{Lease: 90 * time.Second, Retention: 36 * time.Hour},
		Resilience: Resilience{
			Retry:      Retry{MaxAttempts: 1, InitialDelay: time.Second, MaxDelay: time.Second},
			Breaker:    Breaker{FailureRate: 0.25, MinCalls: 4, Window: 10 * time.Second, OpenFor: 5 * time.Second, MaxOpenFor: time.Minute},
			Redelivery: Redelivery{MaxAttempts: 2, Delays: []time.Duration{time.Second}},
		},
		Database: Database{URL: NewURL("host=/run/postgresql user=penstock password='a b'")},
		DeadLetters: DeadLetters{
			Retention: Retention{Recovered: time.Hour, Resolved: 2 * time.Hour, Superseded: 3 * time.Hour, Discarded: 4 * time.Hour, Dead: 365 * day},
			Keys:      []Key{{ID: "k1", File: file("keys/k1")}, {ID: "k2", File: "/run/secrets/k2"}},
		},
		HTTP: HTTP{Addr: ":9090", Token: NewSecret("to:ken,with#signs"), Tokens: []HTTPToken{
			{Name: "alice", Role: RoleOperate, Token: NewSecret("x")}, {Name: "grafana", Role: RoleRead, TokenFile: file("token")},
		}},
		Reads: Reads{
			DailyCallShare: 0.5, MaxConcurrentCalls: 2, Timeout: 1500 * time.Millisecond,
			Bucket: "ANSWERS", MaxBytes: 1 << 30, MaxMemory: 2 << 20,
		},
		Log:             Log{Level: LevelDebug, Format: FormatConsole},
		ShutdownTimeout: time.Minute,
		Mappings: []Mapping{
			{
				Name: "contacts", Subject: "crm.*.contact.>", Deliver: Deliver{Policy: DeliverSince, Since: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)},
				Object: "Contact", ExternalID: ExternalID{Field: "Ext__c", Expr: "string(data.id)"},
				Events: mapping.Patch, Ordering: mapping.Unordered, DeleteWhen: "data.gone",
				OnDelete: OnDelete{Action: mapping.SetFields, Set: Fields{
					{Name: "Active__c", Kind: mapping.KindValue, Value: false},
					{Name: "Left__c", Kind: mapping.KindExpr, Expr: "time"},
				}},
				Fields: Fields{
					{Name: "LastName", Kind: mapping.KindPath, Path: "after.name.last"},
					{Name: "Who", Kind: mapping.KindPath, Path: "lead", As: "Lead.Ext__c"},
					{Name: "Score__c", Kind: mapping.KindValue, Value: json.Number("12345678901234.50")},
					{Name: "Langs__c", Kind: mapping.KindValue, Value: []string{"de", "en"}},
					{Name: "Note__c", Kind: mapping.KindValue, Value: nil},
					{Name: "Dollars__c", Kind: mapping.KindValue, Value: "${5} or $5"},
					{Name: "Full__c", Kind: mapping.KindExpr, Expr: "data.a +\n  data.b\n"},
				},
				Tripwire: Tripwire{Share: 0.9, Window: 500, Probe: 2 * time.Minute},
			},
			{
				Name: "removals", Subject: "crm.removed", Deliver: Deliver{Policy: DeliverNew}, Object: "Contact",
				ExternalID: ExternalID{Field: "Ext__c", From: "id"}, Events: mapping.Snapshot, Ordering: mapping.NewestWins,
				When: "true", Version: "data.version", OrgFence: OrgFence{Field: "Sync_Version__c"},
				DeleteWhen: "true", OnDelete: OnDelete{Action: mapping.IgnoreDelete},
				Tripwire: Tripwire{Share: 0.5, Window: 200},
			},
		},
		Queries: []Query{{
			Name: "q", SOQL: "SELECT Id FROM Contact WHERE A = :a AND B = ':not' AND C = LAST_N_DAYS:30", FreshFor: 2 * time.Second, MaxStale: time.Minute,
			Params: map[string]soql.Type{"a": soql.Integer}, RefreshAhead: 500 * time.Millisecond,
			MaxResultRecords: 7, MaxResultBytes: 2 << 10, Objects: []string{"Account", "Sync__c"},
		}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// A value that happens to be the default would prove nothing.
	byDefault := map[string]any{}
	walkValues(reflect.ValueOf(Default()).Elem(), "", func(path string, v reflect.Value) { byDefault[path] = v.Interface() })
	walkValues(reflect.ValueOf(got).Elem(), "", func(path string, v reflect.Value) {
		if cmp.Equal(byDefault[path], v.Interface()) && !strings.HasPrefix(path, "salesforce.auth.client_secret") {
			t.Errorf("full.yaml leaves %s at its default", path)
		}
	})
}

func TestAnEmptyMinimumLeavesTheDefaults(t *testing.T) {
	t.Parallel()
	got := mustParse(t, minimal+"batch:\nlog: ~\nnats: {creds_file: , tls: }\nreplay: {rate: '${EMPTY}'}\n")
	want := Default()
	if diff := cmp.Diff(want.Batch, got.Batch); diff != "" {
		t.Error(diff)
	}
	if got.Log != want.Log || got.Replay != want.Replay || !cmp.Equal(got.NATS, want.NATS) {
		t.Errorf("got %+v", got)
	}
}

func TestLeaseFollowsTheTimeoutUnlessItIsGiven(t *testing.T) {
	t.Parallel()
	slow := strings.Replace(minimal, "  auth:", "  timeout: 45s\n  auth:", 1)
	if got := mustParse(t, slow).Ledger.Lease; got != 90*time.Second {
		t.Errorf("lease = %v, want 1m30s", got)
	}
	if got := mustParse(t, slow+"ledger: {lease: 2m}\n").Ledger.Lease; got != 2*time.Minute {
		t.Errorf("lease = %v, want 2m", got)
	}
}

func TestLoadTellsWhyAFileCannotBeRead(t *testing.T) {
	t.Parallel()
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"), environment)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
}

func TestWhatPrintWritesLoadsAgain(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"testdata/design.yaml", "testdata/full.yaml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := load(t, name)
			var printed strings.Builder
			if err := want.Print(&printed); err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"from-the-environment", "to:ken", "a b"} {
				if strings.Contains(printed.String(), secret) {
					t.Errorf("%q is printed:\n%s", secret, printed.String())
				}
			}
			got := mustParse(t, printed.String())
			want.Database.URL, want.HTTP.Token = NewURL(want.Database.URL.String()), NewSecret(want.HTTP.Token.String())
			for i := range want.HTTP.Tokens {
				want.HTTP.Tokens[i].Token = NewSecret(want.HTTP.Tokens[i].Token.String())
			}
			want.Salesforce.Auth.ClientSecret = NewSecret(want.Salesforce.Auth.ClientSecret.String())
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s\n%s", diff, printed.String())
			}
		})
	}
}

func TestAnnotatePointsAtTheKeyOrTheNearestAroundIt(t *testing.T) {
	t.Parallel()
	cfg := load(t, "testdata/design.yaml")
	tests := map[string]struct {
		path, text   string
		line, column int
	}{
		"a value":                         {path: "salesforce.login_url", text: "https://acme.my.salesforce.com", line: 16, column: 14},
		"a field whose name holds a dot":  {path: "mappings[0].fields.Parent.External_ID__c", text: "parent_id", line: 50, column: 30},
		"the inside of a long form":       {path: "mappings[0].fields.Type.value", text: "Customer", line: 49, column: 21},
		"a key that is a default":         {path: "salesforce.calls_per_second", line: 15, column: 1},
		"a short form's long path":        {path: "mappings[0].fields.Name.from", line: 47, column: 7},
		"a section that is not there":     {path: "log.level", line: 1, column: 1},
		"a secret":                        {path: "salesforce.auth.client_secret", line: 21, column: 20},
		"an element of a list of objects": {path: "mappings[0]", line: 35, column: 5},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := cfg.Annotate(test.path, "the org knows better")
			if got.Line != test.line || got.Column != test.column || got.Text != test.text || got.Message != "the org knows better" {
				t.Errorf("got %+v, want %+v", got, test)
			}
			if strings.Contains(got.String(), "from-the-environment") {
				t.Errorf("a secret is shown: %s", got)
			}
		})
	}
	if got := Default().Warnings(); len(got) > 0 {
		t.Errorf("warnings of the defaults: %v", got)
	}
	if got := Default().Annotate("nats.url", "no file").String(); got != "configuration:1:1: nats.url: no file" {
		t.Errorf("without a file: %q", got)
	}
}
