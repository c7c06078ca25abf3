package deadletter

import "context"

// Suspect counts a death for each of these events: they are about to be worked on apart from others, and one of them may end
// the process. [Store.Lookup] tells the count, until the events are acquitted. Events that never came again are forgotten
// after thirty days.
func (s *Store) Suspect(ctx context.Context, refs []Ref) error {
	return s.exec(ctx, "suspect", `
		with forgotten as (delete from penstock.suspects where since < now() - interval '30 days')
		insert into penstock.suspects as s (stream, stream_epoch, stream_seq, mapping)
		select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
		on conflict (stream, stream_epoch, stream_seq, mapping) do update set deaths = s.deaths + 1, since = now()`,
		refColumns(inLockOrder(refs))...)
}

// Spare takes back the death that was counted last: the events have not been worked on to their end.
func (s *Store) Spare(ctx context.Context, refs []Ref) error {
	return s.exec(ctx, "spare", `
		with chosen as (
			select s.ctid from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
				as r (stream, stream_epoch, stream_seq, mapping)
			join penstock.suspects s using (stream, stream_epoch, stream_seq, mapping)
		), last as (delete from penstock.suspects s using chosen where s.ctid = chosen.ctid and s.deaths = 1)
		update penstock.suspects s set deaths = s.deaths - 1 from chosen where s.ctid = chosen.ctid and s.deaths > 1`,
		refColumns(refs)...)
}

// Acquit forgets the deaths of these events: the process has survived them.
func (s *Store) Acquit(ctx context.Context, refs []Ref) error {
	return s.exec(ctx, "acquit", `
		delete from penstock.suspects
		where (stream, stream_epoch, stream_seq, mapping) in (select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]))`,
		refColumns(refs)...)
}
