package reads

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// lookUp finds the newer of what this process and the bucket hold. Nobody waits for a bucket that has just failed who can ask
// Salesforce; who has nothing else waits longer.
func (r *Reads) lookUp(ctx context.Context, a asked, known place) place {
	if r.bucket == nil || r.stand(a, known.answer) == fresh {
		return known
	}
	patience := lookTime
	if no := r.blocked(); no == nil && r.cache.failing() {
		return known
	} else if no != nil && known.answer == nil {
		patience = r.cfg.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !r.timed(ctx) || r.suspect.Load() {
		return known
	}
	found, err := r.load(ctx, a)
	if err != nil {
		r.cache.failed(err)
	} else {
		r.cache.worked()
	}
	return r.memory.change(a.key, func(p *place) {
		p.looked = time.Now()
		if found != nil && (p.answer == nil || found.asked.After(p.answer.asked)) {
			p.answer = found
		}
	})
}

// How long the bucket may take: while somebody waits, which leaves half of probeTime for Salesforce, and while nobody does.
const (
	lookTime = probeTime / 2
	saveTime = 5 * time.Second
)

// keep puts an answer into the bucket, while nobody waits for it.
func (r *Reads) keep(a asked, made *answer) {
	if r.bucket == nil || a.MaxStale == 0 {
		return
	}
	ctx, done, ok := r.begin()
	if !ok {
		return
	}
	go func() {
		defer done()
		// What has been paid for is kept, also at the end.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
		defer cancel()
		if err := r.save(ctx, a, made); err != nil {
			r.cache.failed(err)
			return
		}
		r.cache.worked()
	}()
}

// save writes an answer and its parts; the parts first, so that whoever finds the answer finds them.
func (r *Reads) save(ctx context.Context, a asked, made *answer) error {
	if !r.timed(ctx) {
		return nil
	}
	place := 0
	if kept, err := r.bucket.Get(ctx, a.key); err == nil && kept != nil {
		if head, _, err := headOf(kept.Value); err == nil && head.Parts > 0 {
			place = 1 - head.Place&1
		}
	}
	head := r.clock.packed(made)
	value, parts, err := head.pack(made.records, r.bucket.Limit(), place)
	if err != nil {
		return err
	}
	for i, part := range parts {
		if err := r.bucket.Put(ctx, partKey(a.key, place, i), part, a.MaxStale); err != nil {
			return err
		}
	}
	return r.bucket.Put(ctx, a.key, value, a.MaxStale)
}

// load reads an answer and its parts; nil if there is none.
func (r *Reads) load(ctx context.Context, a asked) (*answer, error) {
	kept, err := r.bucket.Get(ctx, a.key)
	if err != nil || kept == nil {
		return nil, err
	}
	head, body, err := headOf(kept.Value)
	switch {
	case err != nil:
		return nil, err
	case int64(head.Size) > a.MaxBytes: // another configuration allowed more
		return nil, nil
	}
	for i := range head.Parts {
		part, err := r.bucket.Get(ctx, partKey(a.key, head.Place, i))
		if err != nil || part == nil || int64(len(body)+len(part.Value)) > a.MaxBytes {
			return nil, errors.Join(errDamaged, err)
		}
		body = append(body, part.Value...)
	}
	stored, err := head.unpack(body)
	if err != nil || !r.clock.unpacked(stored, head, kept.At) {
		return nil, err
	}
	stored.seen = r.written.seen(*a.objects.Load(), stored.heard)
	return stored, nil
}

func partKey(key string, place, i int) string {
	return key + "." + strconv.Itoa(place) + "." + strconv.Itoa(i)
}
