package sfsim

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestDecimalsAreExact compares the rewriting of numbers with exact arithmetic.
func TestDecimalsAreExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
		scale := rapid.IntRange(0, 6).Draw(t, "scale")
		precision := scale + rapid.IntRange(1, 18).Draw(t, "whole")
		value, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%s is no number", text)
		}
		got, exact, fits := appendDecimal(nil, []byte(text), precision, scale)
		want := roundHalfUp(value, scale)
		limit := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision-scale)), nil))
		if wantFits := new(big.Rat).Abs(want).Cmp(limit) < 0; fits != wantFits {
			t.Fatalf("%s: fits %v into (%d,%d)", text, fits, precision, scale)
		}
		if !fits {
			return
		}
		back, ok := new(big.Rat).SetString(string(got))
		if !ok || back.Cmp(want) != 0 || exact != (want.Cmp(value) == 0) {
			t.Fatalf("%s became %s (exact %v), not %s", text, got, exact, want.FloatString(scale))
		}
		again, _, _ := appendDecimal(nil, got, precision, scale)
		if plain := plainDecimal(got, precision, scale); string(again) != string(got) || plain != nil && string(plain) != string(got) {
			t.Fatalf("%s is not the last word: %s, %s", got, again, plain)
		}
		if plain := plainDecimal([]byte(text), precision, scale); plain != nil && string(plain) != string(got) {
			t.Fatalf("the short way makes %s of %s, the long one %s", plain, text, got)
		}
	})
}

// roundHalfUp rounds away from zero at the half.
func roundHalfUp(value *big.Rat, scale int) *big.Rat {
	unit := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
	scaled := new(big.Rat).Mul(new(big.Rat).Abs(value), unit)
	scaled.Add(scaled, big.NewRat(1, 2))
	whole := new(big.Int).Quo(scaled.Num(), scaled.Denom())
	rounded := new(big.Rat).Quo(new(big.Rat).SetInt(whole), unit)
	if value.Sign() < 0 {
		rounded.Neg(rounded)
	}
	return rounded
}

func TestDecimalsBeyondWritingOut(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"1e999": false, "-1e999": false, "0e999": true, "0.0e99999999999999999999": true, "1e-999": true} {
		if got, _, fits := appendDecimal(nil, []byte(text), 18, 2); fits != want || fits && string(got) != "0" {
			t.Errorf("%s: %s, %v", text, got, fits)
		}
	}
}

// TestDateTimes compares the reading of datetimes with package time.
func TestDateTimes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMilli(rapid.Int64Range(-8_000_000_000_000, 60_000_000_000_000).Draw(t, "ms"))
		zone := time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "minutes"))
		layout := rapid.SampledFrom([]string{"2006-01-02T15:04:05.000Z07:00", "2006-01-02T15:04:05.999999Z07:00", "2006-01-02T15:04:05.000-0700"}).Draw(t, "layout")
		text := at.In(zone).Format(layout)
		got, ok := appendDateTime(nil, []byte(text))
		if want := at.UTC().Format(stampLayout); !ok || string(got) != want {
			t.Fatalf("%s became %s (%v), not %s", text, got, ok, want)
		}
	})
	for _, bad := range []string{
		"", "2026-01-01", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00",
		"2026-01-01t00:00:00Z", "2026-01-01T00:00:00+1", "2026-01-01T00:00:00+15:00", "2026-01-01T00:00:00+01:0", "2026-01-01T00:00Z", "1699-01-01T00:00:00Z",
	} {
		if got, ok := appendDateTime(nil, []byte(bad)); ok {
			t.Errorf("%s became %s", bad, got)
		}
	}
	for text, want := range map[string]string{"10:20:30Z": "10:20:30.000Z", "10:20:30.5Z": "10:20:30.500Z", "10:20:30": "", "10:20:30+01:00": "", "1:20:30Z": ""} {
		if got, ok := appendTime(nil, []byte(text)); ok != (want != "") || ok && string(got) != want {
			t.Errorf("%s became %s (%v)", text, got, ok)
		}
	}
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Uint64Range(1, 13_537_086_546_263_551).Draw(t, "number") // 62 to the ninth, less one
		id := formatID("a0B", number)
		for _, form := range []string{id, id[:15]} {
			prefix, back, local, ok := parseID(form)
			if !ok || !local || prefix != "a0B" || back != number {
				t.Fatalf("%s: %s %d %v %v", form, prefix, back, local, ok)
			}
		}
	})
	// The checksum of a well-known example.
	if got := string(appendCheck(nil, []byte("001A0000006Vm9r"))); got != "IAC" {
		t.Errorf("checksum %s", got)
	}
	for _, bad := range []string{"", "001", "001Ws000000000!", "001Ws0000000001IAB", "001Ws0000000001IA"} {
		if _, _, _, ok := parseID(bad); ok {
			t.Errorf("%s is an Id", bad)
		}
	}
}

// FuzzScanner holds the scanner against encoding/json: the same texts are valid, and strings mean the same.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e+3,true,false,null,"\u00fc\ud83d\ude00\ud800x"]}`, `"\`, `"\u12`, `[1,]`, `{"a" 1}`, `01`, `-`, `1.`, `1e`, ` [ ] `, `{"":{}}`, "\"\t\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !utf8.Valid(data) || bytes.Count(data, []byte("[")) > maxDepth || bytes.Count(data, []byte("{")) > maxDepth {
			return
		}
		s := scanner{data: data}
		err := s.skip(0)
		if err == nil {
			err = s.end()
		}
		if (err == nil) != json.Valid(data) {
			t.Fatalf("scanner: %v, encoding/json: %v", err, json.Valid(data))
		}
		var want string
		if json.Unmarshal(data, &want) == nil && bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte(`"`)) {
			s = scanner{data: data}
			if got, err := s.text(); err != nil || string(got) != want {
				t.Fatalf("%q, %v, not %q", got, err, want)
			}
		}
	})
}

// FuzzRecords sends arbitrary bodies through the decoder and the whole write path.
func FuzzRecords(f *testing.F) {
	for _, seed := range []string{
		`{"allOrNone":false,"records":[{"attributes":{"type":"Contact"},"External_ID__c":"C","LastName":"x","Account":{"External_ID__c":"A"}}]}`,
		`{"records":[{"attributes":{"type":"Contact"},"External_ID__c":"C","Email":"a@b.c","Birthdate":"2000-02-29","HasOptedOutOfEmail":true,"AccountId":null}]}`,
		`{"allOrNone":true,"records":[{"External_ID__c":"\u0000","Interests__c":"News;Events"},{"Owner":{"attributes":{"type":"User"},"Id":"005Ws0000000001"}}]}`,
		`{"records":[{"Id":1,"id":"x","LastName":{"a":[]},"attributes":{}}]}`,
	} {
		f.Add([]byte(seed))
	}
	s, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	contact := s.catalog.object("Contact")
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, known := range []*object{contact, nil} {
			c := &call{id: "fuzz", body: body, op: OpUpsert}
			ws := s.workspace(c)
			verb := verbInsert
			if known != nil {
				ws.key, verb = contact.field([]byte("External_ID__c")), verbUpsert
			}
			allOrNone, err := ws.collection(known)
			if err != nil {
				if f := asFault(err); f.code == "" || f.status == 0 {
					t.Fatalf("an error without code or status: %+v", f)
				}
				continue
			}
			ws.plan(s, verb, ws.key)
			if ws.key != nil {
				ws.markDuplicates(ws.key)
			}
			s.transact(c, ws, allOrNone)
			if a := ws.results(ws.quirks); !json.Valid(a.body) || strings.Count(string(a.body), `"success":`) < len(ws.records) {
				t.Fatalf("%s", a.body)
			}
			s.free(c)
		}
		for _, r := range s.tables[contact.number].snapshot() {
			if encoded := s.appendRecord(nil, "v66.0", contact, r, contact.columns()); !json.Valid(encoded) {
				t.Fatalf("%s", encoded)
			}
		}
		s.Reset()
	})
}

// FuzzQuery sends arbitrary queries; whatever is accepted has to run and to be answered in JSON.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		`SELECT Id, Account.Parent.Name, Owner.Name FROM Contact WHERE (Name LIKE '%a\_' OR NOT Email IN ('a',NULL)) AND Birthdate >= 2000-01-01 ORDER BY Name DESC NULLS FIRST LIMIT 3 OFFSET 1`,
		`SELECT Id, Account.Parent.Name, Owner.Name FROM Contact`, `SELECT COUNT() FROM Contact WHERE CreatedDate < 2026-01-01T00:00:00+01:00`, `SELECT`, `select id from contact where id='003Ws0000000001'`, `SELECT Id FROM Contact WHERE ((((`,
	} {
		f.Add(seed)
	}
	s, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	c := &call{id: "fuzz", op: OpUpsert, version: "v66.0", body: []byte(
		`{"records":[{"attributes":{"type":"Contact"},"LastName":"a_","FirstName":"x"},{"attributes":{"type":"Contact"},"LastName":"b","Email":"a@b.c"}]}`)}
	if a := s.insertMany(c); a.status != 200 {
		f.Fatalf("%s", a.body)
	}
	f.Fuzz(func(t *testing.T, query string) {
		sel, fault := parse(s.catalog, query)
		if fault != nil {
			if fault.code == "" || fault.status != 400 {
				t.Fatalf("%+v", fault)
			}
			return
		}
		rows := s.selected(sel)
		if sel.object.Name == "Contact" && sel.where == nil && sel.limit < 0 && sel.offset == 0 && len(rows) != 2 {
			t.Fatalf("%d rows", len(rows))
		}
		for _, r := range rows {
			if encoded := s.appendRecord(nil, "v66.0", sel.object, r, sel.columns); utf8.ValidString(query) && !json.Valid(encoded) {
				t.Fatalf("%s", encoded)
			}
		}
	})
}
