-- Messages that an instance works on alone, because they were delivered so often without a verdict that one of them may end
-- the process. A row that is still there when its message comes again says that the process did end. It stands beside
-- the dead letters, not in them, because a message that turns out harmless leaves no letter.
create table penstock.suspects (
    stream       text not null,
    stream_epoch bigint not null,
    stream_seq   bigint not null,
    mapping      text not null,
    since        timestamptz not null default now(),

    primary key (stream, stream_epoch, stream_seq, mapping)
);

---- create above / drop below ----

drop table penstock.suspects;
