package app_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// wantRoles says who may do what, apart from what the code says.
func wantRoles() map[string]string {
	return map[string]string{
		"status": "read", "deadletters.list": "read", "deadletters.groups": "read", "deadletters.stats": "read", "deadletters.show": "read",
		"replay.list": "read", "replay.status": "read", "audit.list": "read",
		"pause": "operate", "resume": "operate", "deadletters.discard": "operate", "replay.plan": "operate", "replay.start": "operate",
		"replay.pause": "operate", "replay.resume": "operate", "replay.cancel": "operate",
	}
}

// wrongly asks an operation for something that there is not: whoever may ask hears that, and nothing is done.
func wrongly() question { return question{id: 999} }

// of completes the question for an operation.
func (q question) of(operation string) question {
	switch operation {
	case "pause", "resume":
		q.body = `{"mapping":"nobody"}`
	case "replay.plan", "deadletters.discard":
		q.body = `{}`
	}
	return q
}

// TestAPIAuthorization asks every operation with every token, directly and through a proxy.
func TestAPIAuthorization(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	ready(t, a.service)
	proxied := map[string]string{"X-Forwarded-For": "192.0.2.7"}
	for operation, role := range wantRoles() {
		for _, header := range []map[string]string{nil, proxied} {
			for token, want := range map[string]int{
				"": 401, "wrong": 401, readToken + "x": 401, readToken: map[string]int{"operate": 403}[role], operateToken: 0, fileToken: 0, queryToken: 403,
			} {
				a.token = token
				q := wrongly().of(operation)
				q.header = header
				r := a.ask(operation, q)
				if want != 0 {
					r.refused(operation, want, "")
				} else if r.code == http.StatusUnauthorized || r.code == http.StatusForbidden {
					t.Errorf("%s with a token of role %s answered %d", operation, role, r.code)
				}
				if r.code == http.StatusUnauthorized && !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer ") {
					t.Errorf("%s does not say how to authenticate", operation)
				}
			}
		}
	}
	a.token = ""
	a.send("GET", "/nothing", question{}).refused("a stranger", http.StatusUnauthorized, "")
	a.send("DELETE", "/replays", question{}).refused("a stranger", http.StatusUnauthorized, "")
	a.keepsQuiet()
}

// TestAPIWithoutTokens asks every operation of a service that has no token: only who sits on its machine may ask.
func TestAPIWithoutTokens(t *testing.T) {
	t.Parallel()
	a := &api{world: newWorld(t, sfsim.Config{}), doc: description(t), done: map[string]bool{}}
	a.service = a.run(a.config(workload.Mappings))
	ready(t, a.service)
	for operation := range wantRoles() {
		if r := a.ask(operation, wrongly().of(operation)); r.code == http.StatusUnauthorized || r.code == http.StatusForbidden {
			t.Errorf("%s on this machine answered %d", operation, r.code)
		}
		for name, value := range map[string]string{
			"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7", "Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site",
			"Host": "elsewhere.example",
		} {
			q := wrongly().of(operation)
			q.header = map[string]string{name: value}
			a.ask(operation, q).refused(operation+" with "+name, http.StatusForbidden, "")
		}
	}
}

// TestAPIContentsNeedOperate looks at a letter with every role. Values of events and records are for those who may operate.
func TestAPIContentsNeedOperate(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.fail()
	var list struct{ Letters []struct{ ID int64 } }
	a.answers("deadletters.list", question{}, &list)
	for _, l := range list.Letters {
		a.token = readToken
		for _, query := range []string{"", "contents=true"} {
			r := a.ask("deadletters.show", question{id: l.ID, query: query})
			var members map[string]json.RawMessage
			r.into(&members)
			if got := slices.Sorted(maps.Keys(members)); r.code != http.StatusOK || !slices.Contains(got, "summary") || slices.Contains(got, "letter") {
				t.Errorf("a reader gets %d %v", r.code, got)
			}
			for _, value := range []string{inEvent, inRecord} {
				if bytes.Contains(r.body, []byte(value)) {
					t.Errorf("a reader sees %q", value)
				}
			}
		}
		a.ask("deadletters.show", question{id: l.ID, query: "live=true"}).refused("live for a reader", http.StatusForbidden, "live")
		a.token = operateToken
		if r := a.ask("deadletters.show", question{id: l.ID}); !bytes.Contains(r.body, []byte(inEvent)) && !bytes.Contains(r.body, []byte("payload_base64")) {
			t.Errorf("who may operate does not see the payload: %s", r.body)
		}
	}
	a.token = readToken
	for operation, role := range wantRoles() {
		if role != "read" || strings.HasSuffix(operation, ".show") || operation == "replay.status" {
			continue
		}
		if r := a.ask(operation, question{}); r.code != http.StatusOK || bytes.Contains(r.body, []byte(inEvent)) || bytes.Contains(r.body, []byte(inRecord)) {
			t.Errorf("%s answers a reader %d %s", operation, r.code, r.body)
		}
	}
	a.keepsQuiet()
}

// TestAPITokenFileIsReadAgain replaces, empties and removes the file of a token while the service runs.
func TestAPITokenFileIsReadAgain(t *testing.T) {
	t.Parallel()
	const fresh = "fresh-token-2e61"
	a := newAPI(t)
	ready(t, a.service)
	asks := func(token string, want int) {
		t.Helper()
		a.token = token
		if r := a.ask("status", question{}); r.code != want {
			t.Errorf("answered %d, want %d", r.code, want)
		}
	}
	asks(fileToken, http.StatusOK)
	a.write(fresh)
	asks(fileToken, http.StatusUnauthorized)
	asks(fresh, http.StatusOK)
	a.write("")
	asks(fresh, http.StatusUnauthorized)
	asks("", http.StatusUnauthorized)
	if err := os.Remove(a.file); err != nil {
		t.Fatal(err)
	}
	asks(fresh, http.StatusUnauthorized)
	asks(operateToken, http.StatusOK) // the others still work
	if log := a.logs.String(); !strings.Contains(log, "cannot be read") || strings.Contains(log, fresh) {
		t.Error("the log does not say that the file is gone, or holds the token")
	}
	a.keepsQuiet()
}
