package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/workload"
)

// reader reads the stream back and folds it into what Salesforce must hold: it alone knows in which order the events stand.
type reader struct {
	js   jetstream.JetStream
	load *publisher

	mu    sync.Mutex
	state workload.State
	past  *past
	met   int
	last  uint64            // sequence of the newest event
	lasts map[string]uint64 // and of each mapping's
	bad   map[uint64]letter // events that must be dead letters
	wrong []string          // what the stream holds and should not
}

// letter is what a dead letter must be.
type letter struct {
	mapping, code string
	payload       [sha256.Size]byte
	headers       [sha256.Size]byte
}

func newReader(js jetstream.JetStream, load *publisher) *reader {
	return &reader{
		js: js, load: load, state: workload.State{}, past: newPast(), lasts: map[string]uint64{}, bad: map[uint64]letter{},
	}
}

// follow reads until ctx ends. A server that goes away only makes it wait.
func (r *reader) follow(ctx context.Context) {
	for ctx.Err() == nil {
		r.read(ctx)
		wait(ctx, reconnectWait)
	}
}

// read reads on from the last event until there is none, or something fails. It asks for one after the other: a client to which the
// server delivers would never see those that look like a word of the server.
func (r *reader) read(ctx context.Context) {
	stream, err := r.js.Stream(ctx, streamName)
	if err != nil {
		return
	}
	for {
		next := r.progress().last + 1
		msg, err := stream.GetMsg(ctx, next)
		if err != nil {
			return // which is also how the server says that it comes later
		}
		r.take(next, msg)
	}
}

// take folds a message.
func (r *reader) take(sequence uint64, msg *jetstream.RawStreamMsg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = sequence
	ev, ok := r.load.take(msg.Header.Get(nats.MsgIdHdr))
	if !ok {
		r.wrong = append(r.wrong, fmt.Sprintf("sequence %d holds what was stored before", sequence))
		return
	}
	r.met++
	r.lasts[ev.Mapping] = sequence
	if ev.Bad != "" {
		r.bad[sequence] = letter{ev.Mapping, ev.Bad, sha256.Sum256(msg.Data), sha256.Sum256(netstrings(msg.Header))}
		return
	}
	r.state.Apply(ev)
	r.past.add(sequence, ev)
}

// reading is how far the reader has come.
type reading struct {
	met   int
	last  uint64
	lasts map[string]uint64
}

func (r *reader) progress() reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	return reading{r.met, r.last, maps.Clone(r.lasts)}
}

// catchUp waits until everything that was confirmed has been read.
func (r *reader) catchUp(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		want, have := r.load.confirmedEvents(), r.progress().met
		if have >= want {
			return nil
		}
		if wait(ctx, reconnectWait); ctx.Err() != nil {
			return fmt.Errorf("%d of %d confirmed events have been found in the stream after %s", have, want, within)
		}
	}
}

// netstrings writes headers as a dead letter keeps them: names sorted, each with its values in their order.
func netstrings(headers nats.Header) []byte {
	var b []byte
	add := func(text string) {
		b = strconv.AppendInt(b, int64(len(text)), 10)
		b = append(b, ':')
		b = append(b, text...)
		b = append(b, ',')
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		for _, value := range headers[name] {
			add(name)
			add(value)
		}
	}
	return b
}
