package reads

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// BucketConfig is what the bucket is made with if there is none.
type BucketConfig struct {
	Name     string
	MaxBytes int64
	Replicas func(context.Context, jetstream.JetStream) int
}

// KV is the bucket that instances share: a JetStream key-value bucket with a time to live for each value. It is found, or made,
// when it is first needed: queries must be answered although JetStream is away.
type KV struct {
	cfg       BucketConfig
	connected chan struct{} // closed when there is a connection

	mu   sync.Mutex
	conn *nats.Conn
	js   jetstream.JetStream
	kv   jetstream.KeyValue // nil until it was reached
}

// maxTTL is after how long the server forgets a value, whatever it was written with: no configuration allows older answers.
const maxTTL = 30 * 24 * time.Hour

// NewKV prepares a bucket.
func NewKV(cfg BucketConfig) *KV { return &KV{cfg: cfg, connected: make(chan struct{})} }

// Connect tells once by which connection the bucket is reached.
func (b *KV) Connect(conn *nats.Conn) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn, b.js = conn, js
	close(b.connected)
	return nil
}

// errNotConnected is the error of a bucket without a connection.
var errNotConnected = errors.New("NATS has not been reached yet")

// reach finds the bucket, or makes it, once there is a connection. One that exists keeps its size and replicas, which are its
// owner's to change.
func (b *KV) reach(ctx context.Context) (jetstream.JetStream, jetstream.KeyValue, error) {
	select {
	case <-b.connected:
	case <-ctx.Done():
	}
	b.mu.Lock()
	js, kv := b.js, b.kv
	b.mu.Unlock()
	switch {
	case js == nil:
		return nil, nil, errNotConnected
	case kv != nil:
		return js, kv, nil
	}
	kv, err := js.KeyValue(ctx, b.cfg.Name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if kv, err = b.create(ctx, js); errors.Is(err, jetstream.ErrBucketExists) { // another instance was faster
			kv, err = js.KeyValue(ctx, b.cfg.Name)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	b.mu.Lock()
	b.kv = kv
	b.mu.Unlock()
	return js, kv, nil
}

func (b *KV) create(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, error) {
	return js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      b.cfg.Name,
		Description: "answers of penstock's named queries",
		History:     1,
		TTL:         maxTTL,
		MaxBytes:    b.cfg.MaxBytes,
		Replicas:    b.cfg.Replicas(ctx, js),
		Storage:     jetstream.FileStorage,
		// Lets each value have a time to live of its own; what the server then leaves in its place goes soon.
		LimitMarkerTTL: time.Minute,
	})
}

// forget looks for the bucket anew the next time: it is gone.
func (b *KV) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kv = nil
}

// wrap says what was tried, and forgets a bucket that is gone.
func (b *KV) wrap(what string, err error) error {
	if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, nats.ErrNoResponders) {
		b.forget()
	}
	return fmt.Errorf("bucket %s: %s: %w", b.cfg.Name, what, err)
}

// Get reads a value.
func (b *KV) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	_, kv, err := b.reach(ctx)
	if err != nil {
		return nil, false, b.wrap("find", err)
	}
	entry, err := kv.Get(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound): // or deleted
		return nil, false, nil
	case err != nil:
		return nil, false, b.wrap("read", err)
	}
	return entry.Value(), true, nil
}

// Put writes a value. The key-value interface gives a time to live to new keys only, so this publishes what it would.
func (b *KV) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	const whole = time.Second // JetStream: a time to live is in whole seconds, at least one
	ttl = max((ttl + whole - 1).Truncate(whole), whole)
	js, _, err := b.reach(ctx)
	if err != nil {
		return b.wrap("find", err)
	}
	_, err = js.Publish(ctx, "$KV."+b.cfg.Name+"."+key, value, jetstream.WithMsgTTL(ttl))
	if err != nil {
		return b.wrap("write", err)
	}
	return nil
}

// Watch tells of the values whose keys match.
func (b *KV) Watch(ctx context.Context, pattern string, told func(key string, value []byte)) error {
	_, kv, err := b.reach(ctx)
	if err != nil {
		return b.wrap("find", err)
	}
	watcher, err := kv.Watch(ctx, pattern, jetstream.IgnoreDeletes())
	if err != nil {
		return b.wrap("watch", err)
	}
	defer func() { _ = watcher.Stop() }() // it ends with the connection, else nobody hears it
	for {
		select {
		case entry, ok := <-watcher.Updates():
			if !ok {
				return b.wrap("watch", nats.ErrConnectionClosed)
			}
			if entry != nil { // nil: all that stand have been told
				told(entry.Key(), entry.Value())
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Now asks the server that leads the bucket for its time.
func (b *KV) Now(ctx context.Context) (time.Time, error) {
	js, _, err := b.reach(ctx)
	if err != nil {
		return time.Time{}, b.wrap("find", err)
	}
	stream, err := js.Stream(ctx, "KV_"+b.cfg.Name)
	if err != nil {
		return time.Time{}, b.wrap("ask for the time", err)
	}
	return stream.CachedInfo().TimeStamp, nil
}

// Limit is how large a message may be.
func (b *KV) Limit() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		return leastPayload
	}
	return int(b.conn.MaxPayload())
}

// leastPayload is a message that every server takes.
const leastPayload = 64 << 10
