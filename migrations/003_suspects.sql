-- Messages that were delivered so often without a verdict that one of them may end the process. Before an instance works on
-- some of them, apart from others, it counts one death for each, and takes it back when it has survived: so the count is
-- that of the processes which ended meanwhile. It stands beside the dead letters, not in them, because a message that
-- turns out harmless leaves no letter.
create table penstock.suspects (
    stream       text not null,
    stream_epoch bigint not null,
    stream_seq   bigint not null,
    mapping      text not null,
    deaths       integer not null default 1,
    since        timestamptz not null default now(),

    primary key (stream, stream_epoch, stream_seq, mapping),
    constraint suspects_died check (deaths > 0)
);

---- create above / drop below ----

drop table penstock.suspects;
