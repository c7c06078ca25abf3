package deadletter

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// KeySize is how many bytes a key has.
const KeySize = 32

// Key seals the contents of letters, with AES-256-GCM.
type Key struct {
	ID     string // Up to 40 letters, digits, - and _. Each sealed value names its key by it.
	Secret []byte `json:"-"` // KeySize bytes.
}

// maxKeyID bounds the id of a key, which stands in every sealed value.
const maxKeyID = 40

func validKeyID(id string) bool {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	return id != "" && len(id) <= maxKeyID && strings.Trim(id, allowed) == ""
}

// ParseKey reads a key from base64 or hexadecimal digits; white space around them is ignored. An error shows nothing of the text.
func ParseKey(id, text string) (Key, error) {
	text = strings.TrimSpace(text)
	// 64 hexadecimal digits are base64 too, of 48 bytes, so they come first.
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if secret, err := decode(text); err == nil && len(secret) == KeySize {
			return Key{ID: id, Secret: secret}, nil
		}
	}
	return Key{}, fmt.Errorf("key %q: not %d bytes as base64 or hexadecimal digits", id, KeySize)
}

// Format writes the id for every verb: no log shows the key.
func (k Key) Format(state fmt.State, _ rune) {
	// The writer behind a fmt.State is a buffer: it does not fail.
	_, _ = io.WriteString(state, "key "+strconv.Quote(k.ID))
}

// SealedError says that contents cannot be opened. It is no fault of the database: its Kind would be none of [Kinds].
type SealedError struct {
	Ref     Ref    // The letter, unless it is the patch of a replay.
	Replay  int64  // That replay.
	Column  string // What cannot be opened: payload, headers, ...
	KeyID   string // The key that is needed; empty if not even that can be read.
	Missing bool   // The key is not configured; else it is a wrong one, or the stored bytes are not those that were sealed.
}

// Error names the letter and the key, and what to do.
func (e *SealedError) Error() string {
	of := e.Ref.String()
	if e.Replay != 0 {
		of = fmt.Sprintf("replay %d", e.Replay)
	}
	switch {
	case e.Missing:
		return fmt.Sprintf("deadletter: %s of %s is sealed with the key %q, which is not configured: put it back into the configuration",
			e.Column, of, e.KeyID)
	case e.KeyID != "":
		return fmt.Sprintf("deadletter: %s of %s does not open with the key %q: another key sealed it, or the stored bytes were changed",
			e.Column, of, e.KeyID)
	default:
		return fmt.Sprintf("deadletter: %s of %s cannot be opened: the stored bytes were changed", e.Column, of)
	}
}

// sealMark begins every value that is not stored just as it is:
//
//	mark, length of the key's id, the id, nonce (12 bytes), ciphertext and tag
//	mark, 0, the value                       a plain value that happens to begin with the mark
//
// So each value says by itself whether and how it is sealed. A row may hold values of several times, and what key was the
// newest, or whether there was one, has changed in between; the column key_id could not tell.
const sealMark = "\x00PS\x01"

// sealer seals with the newest key and opens with all of them. Without keys, values stay plain.
type sealer struct {
	newest string
	keys   map[string]cipher.AEAD
}

// newSealer panics if a key is none, or two have the same id: to go on would mean to store plain what must not be, or what
// nobody can open.
func newSealer(keys []Key) *sealer {
	s := &sealer{keys: make(map[string]cipher.AEAD, len(keys))}
	for _, k := range keys {
		if _, twice := s.keys[k.ID]; twice || !validKeyID(k.ID) || len(k.Secret) != KeySize {
			panic(fmt.Sprintf("deadletter: %v: needs an id of its own of up to 40 letters, digits, - and _, and %d bytes", k, KeySize))
		}
		block, err := aes.NewCipher(k.Secret)
		if err != nil {
			panic(err) // cannot be: the size is right
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			panic(err) // cannot be: AES has the block size of GCM
		}
		s.newest, s.keys[k.ID] = k.ID, aead
	}
	return s
}

// active tells whether new values are sealed.
func (s *sealer) active() bool { return s.newest != "" }

// keyID is what the column of that name says of a row written now.
func (s *sealer) keyID() *string {
	if !s.active() {
		return nil
	}
	return &s.newest
}

// seal makes of a value what is stored. No value (nil) stays none; an empty one is sealed like any other.
func (s *sealer) seal(plain, place []byte) []byte {
	switch {
	case plain == nil:
		return nil
	case s.active():
		sealed := append([]byte(sealMark), byte(len(s.newest)))
		return s.keys[s.newest].Seal(append(sealed, s.newest...), nil, plain, place)
	case bytes.HasPrefix(plain, []byte(sealMark)):
		return append([]byte(sealMark+"\x00"), plain...)
	default:
		return plain
	}
}

// open gives the value that was sealed, or an error without its place.
func (s *sealer) open(stored, place []byte) ([]byte, *SealedError) {
	rest, marked := bytes.CutPrefix(stored, []byte(sealMark))
	if !marked {
		return stored, nil
	}
	if len(rest) == 0 || len(rest) <= int(rest[0]) {
		return nil, &SealedError{}
	}
	id, rest := string(rest[1:1+rest[0]]), rest[1+rest[0]:]
	switch {
	case id == "":
		return rest, nil
	case !validKeyID(id):
		return nil, &SealedError{}
	}
	aead, known := s.keys[id]
	if !known {
		return nil, &SealedError{KeyID: id, Missing: true}
	}
	plain, err := aead.Open([]byte{}, nil, rest, place)
	if err != nil {
		return nil, &SealedError{KeyID: id}
	}
	return plain, nil
}

// seal makes of a value of a letter what its column stores, and tells the id of the key, nil if it stays plain.
func (s *Store) seal(ref Ref, column string, plain []byte) (sealed []byte, keyID *string) {
	return s.sealer.seal(plain, ref.place(column)), s.sealer.keyID()
}

// sealedRecord is what the column record_raw stores.
func (s *Store) sealedRecord(e *entry) []byte {
	stored, _ := s.seal(e.Ref, "record_raw", e.recordBytes())
	return stored
}

// open gives the value of a letter's column that seal made this of.
func (s *Store) open(ref Ref, column string, stored []byte) ([]byte, error) {
	plain, err := s.sealer.open(stored, ref.place(column))
	if err != nil {
		err.Ref, err.Column = ref, column
		return nil, err
	}
	return plain, nil
}

// sealPatch is seal for the patch of a replay.
func (s *Store) sealPatch(run int64, patch []byte) (sealed []byte, keyID *string) {
	return s.sealer.seal(patch, patchPlace(run)), s.sealer.keyID()
}

// openPatch is open for the patch of a replay.
func (s *Store) openPatch(run int64, stored []byte) ([]byte, error) {
	plain, err := s.sealer.open(stored, patchPlace(run))
	if err != nil {
		err.Replay, err.Column = run, "patch"
		return nil, err
	}
	return plain, nil
}

// place is what a sealed value is bound to (the associated data): in another row or column it does not open.
func (r Ref) place(column string) []byte {
	return netstrings("dead_letters", column, r.Stream, strconv.FormatInt(r.Epoch, 10), strconv.FormatUint(r.Sequence, 10), r.Mapping)
}

func patchPlace(run int64) []byte { return netstrings("replays", "patch", strconv.FormatInt(run, 10)) }

// netstrings joins texts so that no two lists give the same bytes.
func netstrings(texts ...string) []byte {
	var joined []byte
	for _, text := range texts {
		joined = appendNetstring(joined, text)
	}
	return joined
}
