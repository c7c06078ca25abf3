package deadletter

import "context"

// Suspect notes that an event is about to be worked on alone, because it may end the process. [Store.Lookup] tells of it,
// until the event is acquitted. Notes of events that never came again are forgotten after thirty days.
func (s *Store) Suspect(ctx context.Context, ref Ref) error {
	return s.exec(ctx, "suspect", `
		with forgotten as (delete from penstock.suspects where since < now() - interval '30 days')
		insert into penstock.suspects (stream, stream_epoch, stream_seq, mapping)
		values ($1, $2, $3, $4) on conflict do nothing`, ref.Stream, ref.Epoch, int64(ref.Sequence), ref.Mapping)
}

// Acquit forgets that an event was worked on alone: the process has survived it.
func (s *Store) Acquit(ctx context.Context, ref Ref) error {
	return s.exec(ctx, "acquit", `
		delete from penstock.suspects where stream = $1 and stream_epoch = $2 and stream_seq = $3 and mapping = $4`,
		ref.Stream, ref.Epoch, int64(ref.Sequence), ref.Mapping)
}
