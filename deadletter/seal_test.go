package deadletter

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"penstock/internal/devstack/devtest"
)

// key is a key that is like no other id's.
func key(id string) Key {
	return Key{ID: id, Secret: bytes.Repeat([]byte(id[:1]), KeySize)}
}

// sealing gives a store with these keys on a table, and one without.
func sealing(t *testing.T, dsn string, ids ...string) *Store {
	t.Helper()
	return open(t, dsn, Options{Keys: column(ids, key)})
}

func TestValueOpensOnlyWhereItWasSealed(t *testing.T) {
	t.Parallel()
	s := New(nil, Options{Keys: []Key{key("a"), key("b")}})
	rapid.Check(t, func(rt *rapid.T) {
		anyRef := rapid.Custom(func(rt *rapid.T) Ref {
			return Ref{
				Stream: anyText().Draw(rt, "stream"), Epoch: rapid.Int64().Draw(rt, "epoch"),
				Sequence: rapid.Uint64().Draw(rt, "sequence"), Mapping: anyText().Draw(rt, "mapping"),
			}
		})
		name := rapid.SampledFrom([]string{"payload", "headers", "record_raw", "edited"})
		r, other := anyRef.Draw(rt, "ref"), anyRef.Draw(rt, "other ref")
		at, elsewhere := name.Draw(rt, "column"), name.Draw(rt, "other column")
		want := rapid.SliceOf(rapid.Byte()).Draw(rt, "value")
		sealed, id := s.seal(r, at, want)
		if id == nil || *id != "b" || len(want) > 8 && bytes.Contains(sealed, want) {
			rt.Fatalf("sealed with %v as %q", id, sealed)
		}
		if got, err := s.open(r, at, sealed); err != nil || got == nil || !bytes.Equal(got, want) {
			rt.Fatalf("%q came back as %q, %v", want, got, err)
		}
		got, err := s.open(other, elsewhere, sealed)
		if same := r == other && at == elsewhere; (err == nil) != same {
			rt.Fatalf("%s of %v opened as %s of %v: %q, %v", at, r, elsewhere, other, got, err)
		}
	})
}

func TestNoValueStaysNone(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*Store{"plain": New(nil, Options{}), "sealed": New(nil, Options{Keys: []Key{key("a")}})} {
		if sealed, _ := s.seal(ref(1), "edited", nil); sealed != nil {
			t.Errorf("%s: nothing became %q", name, sealed)
		}
		if got, err := s.open(ref(1), "edited", nil); got != nil || err != nil {
			t.Errorf("%s: nothing came back as %q, %v", name, got, err)
		}
		sealed, _ := s.seal(ref(1), "payload", []byte{})
		if got, err := s.open(ref(1), "payload", sealed); sealed == nil || got == nil || err != nil {
			t.Errorf("%s: an empty value became %v and then %v, %v", name, sealed, got, err)
		}
	}
}

// A publisher may know what a sealed value looks like.
func TestPlainValueIsNeverTakenForASealedOne(t *testing.T) {
	t.Parallel()
	plain, sealed := New(nil, Options{}), New(nil, Options{Keys: []Key{key("a")}})
	forged, _ := sealed.seal(ref(1), "payload", []byte("x"))
	for _, value := range [][]byte{forged, []byte(sealMark), []byte(sealMark + "\x00"), []byte(sealMark + "\x01a")} {
		stored, id := plain.seal(ref(1), "payload", value)
		if got, err := sealed.open(ref(1), "payload", stored); err != nil || !bytes.Equal(got, value) || id != nil {
			t.Errorf("%q came back as %q, %v", value, got, err)
		}
	}
}

func TestDamagedValueIsAnErrorThatShowsNothingOfIt(t *testing.T) {
	t.Parallel()
	const secret = "4111-1111-1111-1111"
	s := New(nil, Options{Keys: []Key{key("a")}})
	wrong := New(nil, Options{Keys: []Key{{ID: "a", Secret: bytes.Repeat([]byte("x"), KeySize)}}})
	sealed, _ := s.seal(ref(1), "payload", []byte(secret))
	check := func(s *Store, stored []byte) {
		t.Helper()
		got, err := s.open(ref(1), "payload", stored)
		var failed *SealedError
		if !errors.As(err, &failed) || got != nil || failed.Ref != ref(1) || failed.Column != "payload" {
			t.Fatalf("opened as %q, %v", got, err)
		}
		if text := err.Error(); strings.Contains(text, secret) || !strings.Contains(text, ref(1).String()) {
			t.Errorf("the error tells too much, or too little: %s", text)
		}
	}
	check(wrong, sealed)
	for i := len(sealMark); i < len(sealed); i++ {
		check(s, sealed[:i])
		bent := bytes.Clone(sealed)
		if bent[i] ^= 1; i > len(sealMark) || bent[i] != 0 { // an id of no length says: plain
			check(s, bent)
		}
	}
	check(s, []byte(sealMark+"\x15\""+secret+"\""+secret)) // no id: whatever it is, it is not shown
}

func TestKeyIsReadFromText(t *testing.T) {
	t.Parallel()
	secret := bytes.Repeat([]byte{0xfb, 0xff}, KeySize/2)
	for name, text := range map[string]string{
		"base64":               base64.StdEncoding.EncodeToString(secret),
		"base64 for URLs":      base64.URLEncoding.EncodeToString(secret),
		"base64 without =":     base64.RawStdEncoding.EncodeToString(secret),
		"hexadecimal":          hex.EncodeToString(secret),
		"in capitals":          strings.ToUpper(hex.EncodeToString(secret)),
		"with lines around it": "\n " + hex.EncodeToString(secret) + "\r\n",
	} {
		if got, err := ParseKey("k", text); err != nil || got.ID != "k" || !bytes.Equal(got.Secret, secret) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "too short": base64.StdEncoding.EncodeToString(secret[1:]), "too long": hex.EncodeToString(append(secret, 1)),
		"no digits": "correct horse battery staple",
	} {
		if _, err := ParseKey("k", text); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	t.Parallel()
	k := key("secret")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, k); got != `key "secret"` {
			t.Errorf("%s: %s", verb, got)
		}
	}
	if text, err := json.Marshal(k); err != nil || string(text) != `{"ID":"secret"}` {
		t.Errorf("as JSON: %s, %v", text, err)
	}
}

func TestKeyThatIsNoneIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][]Key{
		"no id": {{Secret: key("a").Secret}}, "an id that is no word": {{ID: "a b", Secret: key("a").Secret}},
		"a short key": {{ID: "a", Secret: []byte("short")}}, "two of an id": {key("a"), key("a")},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it was taken", name)
				}
			}()
			New(nil, Options{Keys: keys})
		}()
	}
}

// dump is every column of a table, as text and as bytes, as a backup would hold it.
func dump(t *testing.T, s *Store, table string) string {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), "select to_jsonb(t)::text, t::text from penstock."+table+" t")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ JSON, Text string }])
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		all.WriteString(l.JSON + "\n" + l.Text + "\n")
		// bytea is written as \x and digits; quotes and commas around it are no digits.
		for word := range strings.FieldsFuncSeq(l.JSON, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }) {
			if raw, err := hex.DecodeString(word); err == nil {
				all.Write(append(raw, '\n'))
			}
		}
	}
	return all.String()
}

func TestDumpOfSealedLettersShowsNothingOfTheirEvents(t *testing.T) {
	t.Parallel()
	const payload, header, recorded, edited = "payload-4111", "header-4111", "record-4111", "edited-4111"
	dsn := migrated(t, devtest.Database(t))
	secrets := []string{payload, header, recorded, edited}
	write := func(s *Store, seq uint64) {
		t.Helper()
		f := buried(failure(seq, 1))
		f.Payload, f.Record = []byte(`{"card":"`+payload+`"}`), []byte(`{"Card__c": "`+recorded+`"}`)
		f.Headers = map[string][]string{"Card": {header}}
		record(t, s, f)
		// It goes into a replay, is edited and fails again.
		run, err := s.Plan(t.Context(), Filter{}, "ann")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = s.Start(t.Context(), run.ID, StartOptions{By: "ann", Rate: 1, Patch: []byte(`{"card":"` + edited + `"}`)}); err != nil {
			t.Fatal(err)
		}
		if err = s.Enlist(t.Context(), run.ID, Bounds{Mappings: []string{f.Mapping}}); err != nil {
			t.Fatal(err)
		}
		l := letterOf(t, s, f.Ref)
		if _, err = s.Drive(t.Context(), run.ID, driver, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err = s.Depart(t.Context(), run.ID, driver, []string{f.Mapping}, 1); err != nil {
			t.Fatal(err)
		}
		if err = s.Edit(t.Context(), run.ID, l, []byte(edited)); err != nil {
			t.Fatal(err)
		}
		by := Arrival{Letter: l.ID, Replay: run.ID, Epoch: 1, Sequence: seq}
		if err = errors.Join(s.Sent(t.Context(), []Arrival{by}), s.Conclude(t.Context(), []Outcome{{
			By: by, Ref: f.Ref, State: Dead, Object: f.Object, ExternalID: f.ExternalID, Record: f.Record, Attempt: failure(seq, 2).Attempt,
		}})); err != nil {
			t.Fatal(err)
		}
		l = letterOf(t, s, f.Ref)
		if patch, err := s.Patch(t.Context(), run.ID); err != nil || !bytes.Contains(patch, []byte(edited)) {
			t.Errorf("the patch came back as %q, %v", patch, err)
		}
		if !bytes.Equal(l.Payload, f.Payload) || string(l.Edited) != edited || !bytes.Equal(l.Record, f.Record) || !reflect.DeepEqual(l.Headers, f.Headers) {
			t.Errorf("it came back as %q, %q, %q, %q", l.Payload, l.Edited, l.Record, l.Headers)
		}
		if l.State != Dead || l.Attempts != 2 {
			t.Errorf("it is %s after %d attempts: the replay has not ended as this test thinks", l.State, l.Attempts)
		}
	}
	s := sealing(t, dsn, "a")
	write(s, 1)
	text := dump(t, s, "dead_letters") + dump(t, s, "replays")
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("the dump shows %s", secret)
		}
	}
	// That the test would see them.
	plain := open(t, migrated(t, devtest.Database(t)), Options{})
	write(plain, 1)
	text = dump(t, plain, "dead_letters") + dump(t, plain, "replays")
	for _, secret := range secrets {
		if !strings.Contains(text, secret) {
			t.Errorf("the dump of a plain letter does not show %s: this test sees nothing", secret)
		}
	}
}

// Keys come, change and go while letters fail again and again.
func TestLetterOpensWhateverKeysItFailedUnder(t *testing.T) {
	t.Parallel()
	dsn := migrated(t, devtest.Database(t))
	all := sealing(t, dsn, "a", "b")
	stores := map[string]*Store{"none": sealing(t, dsn), "a": sealing(t, dsn, "a"), "b": all}
	var seq uint64
	rapid.Check(t, func(rt *rapid.T) {
		seq++
		first := Failure{}
		var newest string
		for n := 1; n <= rapid.IntRange(1, 4).Draw(rt, "attempts"); n++ {
			which := rapid.SampledFrom([]string{"none", "a", "b"}).Draw(rt, "keys")
			f := failure(seq, n)
			f.Payload, f.Record = []byte(anyText().Draw(rt, "payload")), []byte(anyText().Draw(rt, "record"))
			if n == 1 {
				first = f
			}
			if which != "none" {
				newest = which
			}
			record(t, stores[which], f)
			got := letterOf(t, all, ref(seq))
			if !bytes.Equal(got.Payload, first.Payload) || !reflect.DeepEqual(got.Headers, first.Headers) {
				rt.Fatalf("payload %q, headers %q", got.Payload, got.Headers)
			}
			if !bytes.Equal(got.Record, f.Record) && !sameJSON(got.Record, f.Record) {
				rt.Fatalf("record %q, want %q", got.Record, f.Record)
			}
			var id string
			err := all.pool.QueryRow(t.Context(), "select coalesce(key_id, '') from penstock.dead_letters where stream_seq = $1", seq).Scan(&id)
			if err != nil || id != newest {
				rt.Fatalf("key_id is %q, %v; want %q", id, err, newest)
			}
		}
	})
}

func TestLetterWithoutItsKeyIsListedAndNotShown(t *testing.T) {
	t.Parallel()
	dsn := migrated(t, devtest.Database(t))
	record(t, sealing(t, dsn, "lost"), buried(failure(1, 1)))
	for name, s := range map[string]*Store{"without keys": sealing(t, dsn), "with another key": sealing(t, dsn, "new")} {
		letters := pages(t, s, Filter{}, 10)
		if len(letters) != 1 || letters[0].ExternalID != "A-1" {
			t.Fatalf("%s: listed are %v", name, letters)
		}
		stats, err := s.Stats(t.Context(), Filter{})
		if err != nil || stats.States[Dead] != 1 {
			t.Errorf("%s: counted are %v, %v", name, stats.States, err)
		}
		_, got := s.Get(t.Context(), letters[0].ID)
		var exported error
		for _, exported = range s.Export(t.Context(), Filter{}) {
		}
		for _, err := range []error{got, exported} {
			var failed *SealedError
			want := &SealedError{Ref: ref(1), Column: "headers", KeyID: "lost", Missing: true}
			if !errors.As(err, &failed) || !cmp.Equal(failed, want) || isKind(err, Away) {
				t.Errorf("%s: %v, want %v", name, err, want)
			} else if text := err.Error(); !strings.Contains(text, `"lost"`) || !strings.Contains(text, "put it back") {
				t.Errorf("%s: the error does not say what to do: %s", name, text)
			}
		}
	}
	if n, err := sealing(t, dsn).Discard(t.Context(), Filter{}, "ann", "no key"); n != 1 || err != nil {
		t.Errorf("%d discarded, %v", n, err)
	}
}

func TestSealedContentsCannotBeSwapped(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"between letters": "update penstock.dead_letters set payload = (select payload from penstock.dead_letters where stream_seq = 2) where stream_seq = 1",
		"between columns": "update penstock.dead_letters set payload = headers where stream_seq = 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sealing(t, migrated(t, devtest.Database(t)), "a")
			record(t, s, failure(1, 1), failure(2, 1))
			id := letterOf(t, s, ref(1)).ID
			if _, err := s.pool.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
			var failed *SealedError
			if _, err := s.Get(t.Context(), id); !errors.As(err, &failed) || failed.Missing || failed.Column != "payload" {
				t.Errorf("Get = %v", err)
			}
		})
	}
}
