package reads

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// BucketConfig is what a bucket is made with if there is none.
type BucketConfig struct {
	Name        string
	Description string
	MaxBytes    int64
	Replicas    func(context.Context, jetstream.JetStream) int
}

// KV is a bucket that instances share: a JetStream key-value bucket with a time to live for each value. It is found, or made,
// when it is first needed: queries must be answered although JetStream is away. It is a [Bucket] or [Marks].
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
		Description: b.cfg.Description,
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
func (b *KV) Get(ctx context.Context, key string) (*Kept, error) {
	_, kv, err := b.reach(ctx)
	if err != nil {
		return nil, b.wrap("find", err)
	}
	entry, err := kv.Get(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound): // or deleted
		return nil, nil
	case err != nil:
		return nil, b.wrap("read", err)
	}
	return &Kept{Value: entry.Value(), At: entry.Created()}, nil
}

// Put writes a value. The key-value interface gives a time to live to new keys only, so this publishes what it would.
func (b *KV) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := b.put(ctx, key, value, ttl)
	return err
}

// Mark writes a value that says nothing, and returns its place in the order of all values.
func (b *KV) Mark(ctx context.Context, key string, ttl time.Duration) (revision uint64, err error) {
	return b.put(ctx, key, nil, ttl)
}

func (b *KV) put(ctx context.Context, key string, value []byte, ttl time.Duration) (revision uint64, err error) {
	const whole = time.Second // JetStream: a time to live is in whole seconds, at least one
	ttl = max((ttl + whole - 1).Truncate(whole), whole)
	js, _, err := b.reach(ctx)
	if err != nil {
		return 0, b.wrap("find", err)
	}
	ack, err := js.Publish(ctx, "$KV."+b.cfg.Name+"."+key, value, jetstream.WithMsgTTL(ttl))
	if err != nil {
		return 0, b.wrap("write", err)
	}
	return ack.Sequence, nil
}

// Forget deletes the values whose keys match.
func (b *KV) Forget(ctx context.Context, pattern string) error {
	stream, err := b.stream(ctx)
	if err != nil {
		return err
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+b.cfg.Name+"."+pattern)); err != nil {
		return b.wrap("purge", err)
	}
	return nil
}

// stream is the bucket as a stream, with what the server has just said of it.
func (b *KV) stream(ctx context.Context) (jetstream.Stream, error) {
	js, _, err := b.reach(ctx)
	if err != nil {
		return nil, b.wrap("find", err)
	}
	stream, err := js.Stream(ctx, "KV_"+b.cfg.Name)
	if err != nil {
		return nil, b.wrap("ask about", err)
	}
	return stream, nil
}

// Watch hears all values.
func (b *KV) Watch(ctx context.Context, w Watcher) error {
	stream, err := b.stream(ctx)
	if err != nil {
		return err
	}
	epoch := epochOf(stream)
	_, kv, err := b.reach(ctx)
	if err != nil {
		return b.wrap("find", err)
	}
	watcher, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return b.wrap("watch", err)
	}
	defer func() { _ = watcher.Stop() }() // it ends with the connection, else nobody hears it
	w.Began(epoch)
	check := time.NewTicker(watchInterval)
	defer check.Stop()
	for {
		select {
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return b.wrap("watch", nats.ErrConnectionClosed)
			case entry == nil: // all that stand have been told
				w.Synced()
			default:
				w.Told(entry.Key(), entry.Revision())
			}
		case <-check.C:
			if err := b.same(ctx, epoch); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watchInterval is how often a watch looks whether its bucket was made anew: nothing would tell it.
const watchInterval = 10 * time.Second

// errMadeAnew ends a watch.
var errMadeAnew = errors.New("the bucket was deleted and made anew")

// same says whether the bucket is still the one of an epoch. That it cannot be asked is no reason to think that it is not.
func (b *KV) same(ctx context.Context, epoch string) error {
	ctx, cancel := context.WithTimeout(ctx, watchInterval/2)
	defer cancel()
	stream, err := b.stream(ctx)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), err == nil && epochOf(stream) != epoch:
		return b.wrap("watch", errMadeAnew)
	default:
		return nil
	}
}

// epochOf names a bucket: one that is made anew has another.
func epochOf(stream jetstream.Stream) string {
	return strconv.FormatInt(stream.CachedInfo().Created.UnixNano(), 36)
}

// Now asks the server that leads the bucket for its time.
func (b *KV) Now(ctx context.Context) (now, last time.Time, err error) {
	stream, err := b.stream(ctx)
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	info := stream.CachedInfo()
	if info.TimeStamp.IsZero() {
		return time.Time{}, time.Time{}, b.wrap("ask for the time", errNoTime)
	}
	return info.TimeStamp, info.State.LastTime, nil
}

// errNoTime is the error of a server that is too old to tell its time.
var errNoTime = errors.New("the server does not tell its time: it must be NATS 2.11 or later")

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
