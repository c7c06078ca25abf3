package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestForms(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ good, bad []string }{
		"mapping name":   {good: []string{"accounts", "a-b_C9", strings.Repeat("x", 128)}, bad: []string{"a.b", "a b", "a*", "a>", "é", "a/b", strings.Repeat("x", 129)}},
		"key id":         {good: []string{"k1", "2026-01_a", strings.Repeat("x", 40)}, bad: []string{"a b", "a.b", "é", strings.Repeat("x", 41)}},
		"stream name":    {good: []string{"CHANGES", "my-stream_1", "KV_x"}, bad: []string{"a.b", "a b", "a*", ">", "a/b", `a\b`, "a\x01b", strings.Repeat("x", 255)}},
		"subject":        {good: []string{"a", "a.b", "*", ">", "a.*.c", "a.*.>", "$KV.x"}, bad: []string{".", "a.", ".a", "a..b", "a b", "a*", "*a.b", ">.a", "a.>.b", "a.b>", "a\tb"}},
		"subject prefix": {good: []string{"penstock.replay", "_INBOX_a"}, bad: []string{"a.*", ">", "a.", "a b"}},
		"API name":       {good: []string{"Account", "External_ID__c", "ns__Obj__c"}, bad: []string{"External ID", "1a", "_a", "a.b", "a-b"}},
		"error code":     {good: []string{"UNABLE_TO_LOCK_ROW", "Account.DUPLICATE_VALUE", "ns__O__c.X"}, bad: []string{"unable", "A.B.C", ".X", "Account.dup", "A B"}},
		"API version":    {good: []string{"46.0", "66.0", "100.0"}, bad: []string{"66", "v66.0", "66.1", "45.0", "9.0", "1000.0"}},
		"listen address": {good: []string{":8080", "127.0.0.1:0", "[::1]:80", "localhost:65535"}, bad: []string{"8080", "h", "h:", "h:http", "h:65536", "h:-1", "::1:80"}},
		"parameter name": {good: []string{"industry", "_a1"}, bad: []string{"1a", "a-b", "a b"}},
		"bucket name":    {good: []string{"PENSTOCK_READS", "a-b"}, bad: []string{"a.b", "a b", "ä"}},
		"query name":     {good: []string{"q", "a_b-c"}, bad: []string{"a.b", "a b"}},
		"SOQL":           {good: []string{"SELECT Id FROM A", "select\nId", " select Id"}, bad: []string{"SELECTED", "DELETE FROM A", "FIND {x}"}},
		"":               {good: []string{"anything at all"}},
	}
	for form, test := range tests {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			for _, text := range test.good {
				if f := check(form, text); f != nil {
					t.Errorf("%q %s", text, f.what)
				}
			}
			for _, text := range test.bad {
				if f := check(form, text); f == nil || f.what == "" || f.fix == "" {
					t.Errorf("%q passes, or without a fix: %+v", text, f)
				}
			}
		})
	}
	// A form that check does not know would check nothing.
	walkKeys(reflect.TypeFor[Config](), "", func(path string, field reflect.StructField) {
		if _, ok := tests[field.Tag.Get("is")]; !ok {
			t.Errorf("%s has the form %q, which has no test", path, field.Tag.Get("is"))
		}
	})
}

func TestEveryBoundOfATagCanBeRead(t *testing.T) {
	t.Parallel()
	bounded := 0
	walkKeys(reflect.TypeFor[Config](), "", func(path string, field reflect.StructField) {
		low, high := field.Tag.Get("min"), field.Tag.Get("max")
		if low == "" && high == "" {
			return
		}
		bounded++
		scalar := field.Type
		if scalar.Kind() == reflect.Slice {
			scalar = scalar.Elem()
		}
		if from, to := parseAmount(scalar, low), parseAmount(scalar, high); !(from < to) { // false for NaN too
			t.Errorf("%s: %q to %q", path, low, high)
		}
	})
	if bounded < 25 {
		t.Errorf("only %d keys have bounds", bounded)
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		a, b string
		want bool
	}{
		"the same":                  {"a.b", "a.b", true},
		"different":                 {"a.b", "a.c", false},
		"a star for a token":        {"a.*", "a.b", true},
		"two stars":                 {"a.*", "*.b", true},
		"a star is one token":       {"a.*", "a.b.c", false},
		"the rest":                  {"a.>", "a.b.c", true},
		"the rest is not nothing":   {"a.>", "a", false},
		"two rests":                 {"a.>", "*.b.>", true},
		"another start":             {"a.>", "b.>", false},
		"everything":                {">", "a", true},
		"the rest behind the other": {"a.b.>", "a.b", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if overlap(test.a, test.b) != test.want || overlap(test.b, test.a) != test.want {
				t.Errorf("overlap(%q, %q) is not %v", test.a, test.b, test.want)
			}
		})
	}
}

func TestSuggestions(t *testing.T) {
	t.Parallel()
	known := keysOf(reflect.TypeFor[Auth]())
	for name, want := range map[string]string{
		"client_secert":    "did you mean client_secret?",
		"clientid":         "did you mean client_id?",
		"CLIENT_ID":        "did you mean client_id?",
		"usrname":          "did you mean username?",
		"linger":           "it belongs into batch",
		"url":              "it belongs into nats or database",
		"max_attempts":     "it belongs into resilience.retry or resilience.redelivery",
		"soql":             "it belongs into queries[]",
		"shutdown_timeout": "it belongs into the top level",
		"frobnicate":       "known here are flow, client_id, client_secret, client_secret_file, username, private_key_file, audience, retry_interval",
	} {
		if got := suggest(name, known); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
