-- Replays: a plan freezes a set of letters, a run sends them over the road again. What a run needs is in its row, so that any
-- instance can go on with it where another one has ended.
create table penstock.replays (
    id           bigint generated always as identity primary key,
    created_at   timestamptz not null default now(),
    started_at   timestamptz,
    finished_at  timestamptz,
    driver_until timestamptz, -- until when the instance that drives it is believed to be there, by this server's clock

    -- How many letters the plan holds, and what became of them. started counts those that the run took: others had been
    -- discarded, replayed or resolved since the plan was made.
    planned      bigint not null default 0,
    started      bigint not null default 0,
    sent         bigint not null default 0,
    resolved     bigint not null default 0,
    superseded   bigint not null default 0,
    dead         bigint not null default 0,
    parked       bigint not null default 0,
    cancelled    bigint not null default 0, -- not sent, because the run was cancelled
    enlisted     bigint not null default 0, -- the last place that was looked at when it was started

    rate         double precision not null default 0, -- letters per second
    canary       bigint not null default 0,           -- so many are sent and awaited first; 0: no canary, or it is over
    canary_sent  bigint not null default 0,           -- sent before the canary began, and failed before it
    canary_dead  bigint not null default 0,
    forced       boolean not null default false,      -- parked letters too, and those whose keys the ledger may have forgotten

    state        text not null default 'planned',
    created_by   text not null,
    started_by   text,
    reason       text not null default '',
    why          text not null default '', -- it is paused, or what it waits for
    driver       text,
    request_key  text, -- of the start, given by the caller: the same again is the same run
    selection    jsonb not null,
    patch        bytea, -- JSON merge patch (RFC 7396) of the payloads; sealed like them
    patch_key    text,

    constraint replays_request_once unique (request_key),
    constraint replays_state_known check (state in ('planned', 'starting', 'running', 'paused', 'done', 'cancelled')),
    constraint replays_counted check (least(planned, started, sent, resolved, superseded, dead, parked, cancelled, canary) >= 0),
    constraint replays_finished_at_the_end check ((finished_at is not null) = (state in ('done', 'cancelled'))),
    constraint replays_started_signed check (state in ('planned', 'cancelled') or (started_at is not null and started_by is not null))
);

-- The one that is not over yet is looked for again and again.
create index replays_open on penstock.replays (id) where state in ('starting', 'running', 'paused');

create function penstock.replays_guard_move() returns trigger language plpgsql as $$
begin
    if (old.state, new.state) not in (
        ('planned', 'starting'), ('planned', 'cancelled'),
        ('starting', 'running'), ('starting', 'cancelled'),
        ('running', 'paused'), ('running', 'done'), ('running', 'cancelled'),
        ('paused', 'running'), ('paused', 'done'), ('paused', 'cancelled')
    ) then
        raise exception using
            errcode = 'check_violation',
            schema = tg_table_schema, table = tg_table_name, constraint = tg_name,
            message = format('replay %s cannot go from %s to %s', old.id, old.state, new.state);
    end if;
    return new;
end
$$;

create trigger replays_move before update on penstock.replays
    for each row when (old.state is distinct from new.state)
    execute function penstock.replays_guard_move();

-- The letters of a plan, in the order in which they are sent: per key from the oldest version to the newest.
create table penstock.replay_letters (
    replay_id bigint not null references penstock.replays on delete cascade,
    place     bigint not null,
    letter_id bigint not null,
    primary key (replay_id, place)
);

-- What a letter says of its cause, with the values in the message masked: letters of one fingerprint need one repair.
create function penstock.fingerprint(mapping text, object text, class text, code text, fields jsonb, message text) returns text
language sql immutable parallel safe as $$
    select substr(md5(concat_ws(E'\x1f', mapping, object, class, code, coalesce(fields::text, ''),
        regexp_replace(regexp_replace(regexp_replace(message,
            '''[^'']*''|"[^"]*"', '?', 'g'),
            '\m(?=[0-9A-Za-z]*[0-9])[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?\M', '?', 'g'),
            '[0-9]+(?:[.,:-][0-9]+)*', '#', 'g'))), 1, 12)
$$;

alter table penstock.dead_letters
    -- When the stream stored the event, in Unix nanoseconds, for expressions that ask; 0 for letters older than this column.
    add column stored_at       bigint not null default 0,
    -- Where an event stands among those of the source that came by another way, the replay subject: after this event of the
    -- source. 0: it is the source's own, and stands where it is.
    add column after_epoch     bigint not null default 0,
    add column after_seq       bigint not null default 0,

    add column replay_id       bigint references penstock.replays, -- the last one that took it
    add column replay_place    bigint,
    -- The message by which it travels. Another message of the same letter is a duplicate and has no effect.
    add column replay_epoch    bigint,
    add column replay_seq      bigint,
    add column replay_attempts integer not null default 0, -- failures in the replay under way
    add column replay_sends    integer not null default 0, -- messages that were published in it

    add column edited          bytea, -- the payload as the replay under way sends it; null: as it came
    add column key_id          text,  -- of the key that payload, headers, record and edited are sealed with; null: they are plain
    add column fingerprint     text not null
        generated always as (penstock.fingerprint(mapping, object, error_class, error_code, attempt_log -> -1 -> 'fields', error_message)) stored;

-- A group's letters, newest first; its sample is the first of them in a state that counts, found without reading others.
create index dead_letters_by_group on penstock.dead_letters (fingerprint, id) include (state);
create index dead_letters_by_object on penstock.dead_letters (object, id);
-- Of the classes, system and auth are rare: without it a list of theirs reads the whole table.
create index dead_letters_by_class on penstock.dead_letters (error_class, id);
-- Lists with a bound of time go by the first failure, from the bound on: the primary key would pass all that is newer first.
-- Counts of such a selection are read from here alone, half a million letters without their pages.
create index dead_letters_by_time on penstock.dead_letters (first_failed_at, id) include (state, fingerprint, replays);
-- What failed again, newest first, and its counts: most letters were never replayed, and the newest least of all.
create index dead_letters_by_replays on penstock.dead_letters (id, replays) include (state, fingerprint, first_failed_at)
    where replays > 0;
-- What a run has still to send, in order; and what is on its way.
create index dead_letters_queued on penstock.dead_letters (replay_id, replay_place) where state = 'queued';
-- Of these, what a driver was about to publish; it may have died before it did, or after.
create index dead_letters_departed on penstock.dead_letters (replay_id, replay_place) where state = 'queued' and replay_sends > 0;
create index dead_letters_replaying on penstock.dead_letters (replay_id, id) where state = 'replaying';
-- A run's letters, for its report.
create index dead_letters_by_replay on penstock.dead_letters (replay_id, id) where replay_id is not null;
-- What retention takes away, oldest first.
create index dead_letters_by_end on penstock.dead_letters (state, resolved_at) where resolved_at is not null;

-- One more move than before: a letter whose message the replay stream has lost is sent once more.
create or replace function penstock.dead_letters_guard_move() returns trigger language plpgsql as $$
begin
    if (old.state, new.state) not in (
        ('retrying', 'recovered'), ('retrying', 'dead'),
        ('recovered', 'retrying'), ('recovered', 'dead'),
        ('dead', 'queued'), ('dead', 'discarded'),
        ('queued', 'replaying'), ('queued', 'dead'), ('queued', 'parked'),
        ('replaying', 'resolved'), ('replaying', 'superseded'), ('replaying', 'dead'), ('replaying', 'parked'), ('replaying', 'queued'),
        ('parked', 'queued'), ('parked', 'discarded')
    ) then
        raise exception using
            errcode = 'check_violation',
            schema = tg_table_schema, table = tg_table_name, constraint = tg_name,
            message = format('dead letter %s cannot go from %s to %s', old.id, old.state, new.state);
    end if;
    return new;
end
$$;

-- How many letters there are of each kind, so that groups and statistics of a million letters need not read a million rows.
-- Every statement adds its differences as rows of their own: nobody waits for anybody. deadletter.Tidy sums them up.
create table penstock.dead_letter_counts (
    hour        timestamptz not null, -- of the first failure; '-infinity' for those that are days old
    first_seen  timestamptz not null,
    last_seen   timestamptz not null,
    letters     bigint not null, -- more or fewer
    state       text not null,
    mapping     text not null,
    object      text not null,
    error_class text not null,
    error_code  text not null,
    fingerprint text not null
);

create function penstock.dead_letter_counts_add() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into penstock.dead_letter_counts
        select date_trunc('hour', first_failed_at, 'UTC'), min(first_failed_at), max(last_failed_at), count(*),
            state, mapping, object, error_class, error_code, fingerprint
        from after_rows group by 1, 5, 6, 7, 8, 9, 10;
    elsif tg_op = 'DELETE' then
        insert into penstock.dead_letter_counts
        select date_trunc('hour', first_failed_at, 'UTC'), min(first_failed_at), max(last_failed_at), -count(*),
            state, mapping, object, error_class, error_code, fingerprint
        from before_rows group by 1, 5, 6, 7, 8, 9, 10;
    else
        insert into penstock.dead_letter_counts
        select date_trunc('hour', first_failed_at, 'UTC'), min(first_failed_at), max(last_failed_at), sum(n),
            state, mapping, object, error_class, error_code, fingerprint
        from (
            select -1 as n, null::timestamptz as failed, b.* from before_rows b
            union all
            select 1, a.last_failed_at, a.* from after_rows a
        ) as moved
        group by 1, 5, 6, 7, 8, 9, 10
        having sum(n) <> 0 or max(failed) > min(last_failed_at);
    end if;
    return null;
end
$$;

create trigger dead_letters_count_inserts after insert on penstock.dead_letters
    referencing new table as after_rows for each statement execute function penstock.dead_letter_counts_add();
create trigger dead_letters_count_updates after update on penstock.dead_letters
    referencing old table as before_rows new table as after_rows for each statement execute function penstock.dead_letter_counts_add();
create trigger dead_letters_count_deletes after delete on penstock.dead_letters
    referencing old table as before_rows for each statement execute function penstock.dead_letter_counts_add();

insert into penstock.dead_letter_counts
select date_trunc('hour', first_failed_at, 'UTC'), min(first_failed_at), max(last_failed_at), count(*),
    state, mapping, object, error_class, error_code, fingerprint
from penstock.dead_letters group by 1, 5, 6, 7, 8, 9, 10;

-- What people have changed, and why. Rows are added and never touched again.
create table penstock.audit (
    id        bigint generated always as identity primary key,
    at        timestamptz not null default now(),
    letters   bigint not null default 0, -- how many it concerned
    actor     text not null,             -- name of a token, NATS client or OS user
    channel   text not null,
    action    text not null,
    reason    text not null default '',
    selection jsonb not null default '{}',

    constraint audit_channel_known check (channel in ('command', 'http', 'nats'))
);

create function penstock.audit_append_only() returns trigger language plpgsql as $$
begin
    raise exception using errcode = 'check_violation', message = 'penstock.audit is append-only';
end
$$;

create trigger audit_stays before update or delete or truncate on penstock.audit
    for each statement execute function penstock.audit_append_only();

-- Where a version of the ledger is that of an event which came by the replay subject: after the event of the source with that
-- sequence, at the time when they came, in Unix nanoseconds. 0 for the events of the source.
alter table penstock.ledger
    add column base_beside    bigint not null default 0,
    add column deleted_beside bigint not null default 0,
    drop constraint ledger_base_whole,
    drop constraint ledger_deleted_whole,
    add constraint ledger_base_whole
        check (base_sequence > 0 or base_beside > 0 or (base_number, base_epoch, base_sequence, base_beside) = (0, 0, 0, 0)),
    add constraint ledger_deleted_whole
        check (deleted_sequence > 0 or deleted_beside > 0 or (deleted_number, deleted_epoch, deleted_sequence, deleted_beside) = (0, 0, 0, 0));

---- create above / drop below ----

-- What the version before cannot hold or move.
delete from penstock.ledger where base_sequence = 0 and base_beside > 0 or deleted_sequence = 0 and deleted_beside > 0;
update penstock.dead_letters set state = 'dead' where state in ('queued', 'replaying');
alter table penstock.ledger
    drop constraint ledger_base_whole, drop constraint ledger_deleted_whole,
    drop column base_beside, drop column deleted_beside,
    add constraint ledger_base_whole check (base_sequence > 0 or (base_number, base_epoch, base_sequence) = (0, 0, 0)),
    add constraint ledger_deleted_whole
        check (deleted_sequence > 0 or (deleted_number, deleted_epoch, deleted_sequence) = (0, 0, 0));
drop table penstock.audit;
drop function penstock.audit_append_only();
drop trigger dead_letters_count_inserts on penstock.dead_letters;
drop trigger dead_letters_count_updates on penstock.dead_letters;
drop trigger dead_letters_count_deletes on penstock.dead_letters;
drop function penstock.dead_letter_counts_add();
drop table penstock.dead_letter_counts;
create or replace function penstock.dead_letters_guard_move() returns trigger language plpgsql as $$
begin
    if (old.state, new.state) not in (
        ('retrying', 'recovered'), ('retrying', 'dead'),
        ('recovered', 'retrying'), ('recovered', 'dead'),
        ('dead', 'queued'), ('dead', 'discarded'),
        ('queued', 'replaying'), ('queued', 'dead'), ('queued', 'parked'),
        ('replaying', 'resolved'), ('replaying', 'superseded'), ('replaying', 'dead'), ('replaying', 'parked'),
        ('parked', 'queued'), ('parked', 'discarded')
    ) then
        raise exception using
            errcode = 'check_violation',
            schema = tg_table_schema, table = tg_table_name, constraint = tg_name,
            message = format('dead letter %s cannot go from %s to %s', old.id, old.state, new.state);
    end if;
    return new;
end
$$;
alter table penstock.dead_letters
    drop column fingerprint, drop column key_id, drop column edited, drop column replay_sends, drop column replay_attempts,
    drop column replay_seq, drop column replay_epoch, drop column replay_place, drop column replay_id,
    drop column after_seq, drop column after_epoch, drop column stored_at;
drop index penstock.dead_letters_by_object;
drop index penstock.dead_letters_by_class;
drop index penstock.dead_letters_by_end;
drop function penstock.fingerprint(text, text, text, text, jsonb, text);
drop table penstock.replay_letters;
drop table penstock.replays;
drop function penstock.replays_guard_move();
