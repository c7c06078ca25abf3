package sfsim_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"penstock/sfapi/sfsim"
)

// manage makes a request of the management API.
func (b *bench) manage(method, path, body string) (int, string) {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	w := &writer{header: http.Header{}}
	b.Manage().ServeHTTP(w, request)
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.status, w.body.String()
}

func TestManage(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	b.upsert("Account", `"External_ID__c":"A/1","Name":"x"`, `"External_ID__c":"A-2","Name":"x"`)
	steps := []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"GET", "/stats", "", 200, `"inserted":2`},
		{"GET", "/records/Account/A%2F1", "", 200, `"Name":"x"`},
		{"GET", "/records/Account/none", "", 404, ""},
		{"GET", "/records/Account", "", 200, `{"count":2}`},
		{"GET", "/commits?since=1", "", 200, `[{"sequence":2`},
		{"GET", "/commits?limit=1", "", 200, `"fields":{"External_ID__c":"A/1","Name":"x"}`},
		{"GET", "/commits?object=Contact", "", 200, "[]"},
		{"GET", "/commits?key=A-2", "", 200, `"key":"A-2"`},
		{"GET", "/commits?since=x", "", 400, "whole numbers"},
		{"GET", "/troubles", "", 200, "[]"},
		{"POST", "/troubles", `{"kind":"wait","delay":"1.5s","operations":["query"],"probability":0.5}`, 201, `{"ids":["t1"]}`},
		{"POST", "/troubles", `[{"kind":"cut","when":"after","for":"1h"},{"kind":"fail","status":503}]`, 201, `{"ids":["t2","t3"]}`},
		{"POST", "/troubles", "- kind: page\n  page: maintenance\n  count: 2\n", 201, `{"ids":["t4"]}`},
		{"POST", "/troubles", `{"kind":"wait"}`, 400, "needs a delay"},
		{"POST", "/troubles", `{"kind":"cut","colour":"red"}`, 400, "colour"},
		{"POST", "/troubles", ``, 400, "empty"},
		{"GET", "/troubles", "", 200, `"delay":"1.5s"`},
		{"DELETE", "/troubles/t1", "", 204, ""},
		{"DELETE", "/troubles/t1", "", 404, ""},
		{"DELETE", "/troubles", "", 204, ""},
		{"GET", "/troubles", "", 200, "[]"},
		{"POST", "/describes/Account", "", 204, ""},
		{"POST", "/describes/Acount", "", 404, ""},
		{"POST", "/cursors/expire", "", 204, ""},
		{"POST", "/usage", `{"used":99,"allowed":100}`, 204, ""},
		{"GET", "/stats", "", 200, `"api_used":99,"api_allowed":100`},
		{"POST", "/usage", `{"used":-1}`, 400, "expected"},
		{"POST", "/sessions/revoke", "", 200, `{"revoked":1}`},
		{"POST", "/reset", "", 204, ""},
		{"GET", "/records/Account", "", 200, `{"count":0}`},
		{"GET", "/nothing", "", 404, ""},
	}
	for _, step := range steps {
		status, body := b.manage(step.method, step.path, step.body)
		if status != step.status || !strings.Contains(body, step.contains) {
			t.Errorf("%s %s: status %d: %s", step.method, step.path, status, body)
		}
		if status == 200 && !json.Valid([]byte(body)) {
			t.Errorf("%s %s is no JSON: %s", step.method, step.path, body)
		}
	}
}
