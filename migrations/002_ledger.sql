-- The ledger: which versions of which fields have been applied to which record, and who is writing the record now.
--
-- One row for each key that was ever written. It is read and updated twice for each record that is sent: a claim takes the
-- lease, a settlement records the versions and gives the lease back. Everything here serves that pair of statements.

-- What the rows have in common, so that a row need not repeat it: the object, its External ID field, and the fields that
-- the base version of a row is about. There is a shape for each set of fields that a mapping writes or ever wrote, so a
-- handful; names are in lower case, as Salesforce compares them.
create table penstock.ledger_shapes (
    id                integer generated always as identity primary key,
    object            text not null,
    external_id_field text not null,
    fields            text[] not null,

    constraint ledger_shapes_known_once unique (object, external_id_field, fields)
);

-- A version is three numbers, compared in this order: that of the mapping's version expression (0 without one), the
-- creation time of the stream in Unix nanoseconds, the sequence in the stream. All zero: none.
create table penstock.ledger (
    -- The first sixteen bytes of the SHA-256 of the record's identity (object, External ID field, External ID as Salesforce
    -- compares it). A key comes from an event and may be of any length, an index entry may not; and sixteen bytes are
    -- found faster than a text.
    id               uuid primary key,

    base_number      bigint not null default 0,
    base_epoch       bigint not null default 0,
    base_sequence    bigint not null default 0,

    -- The newest deletion. Fields older than it are gone.
    deleted_number   bigint not null default 0,
    deleted_epoch    bigint not null default 0,
    deleted_sequence bigint not null default 0,

    -- Whoever presents the token of the last claim holds the lease. It stays when the lease is given back, so that a
    -- settlement whose answer was lost can be repeated.
    lease_token      bigint not null,
    lease_until      timestamptz, -- by this server's clock; null: given back

    -- Of penstock.ledger_shapes, from which nothing is ever deleted. Not declared as a foreign key: each new key would lock the
    -- one row that all keys of a mapping have in common.
    shape            integer not null,
    touched          date not null default current_date,
    lease_owner      text not null, -- the instance, for people
    external_id      text not null, -- as it came first, for people

    -- Fields whose version is not the base: {"name": [number, epoch, sequence]}, zeros for a field of the shape that was
    -- never written. Null where there are none: a stream of whole records costs one version for each key.
    fields           jsonb,

    constraint ledger_base_whole check (base_sequence > 0 or (base_number, base_epoch, base_sequence) = (0, 0, 0)),
    constraint ledger_deleted_whole
        check (deleted_sequence > 0 or (deleted_number, deleted_epoch, deleted_sequence) = (0, 0, 0)),
    constraint ledger_fields_named check (fields is null or jsonb_typeof(fields) = 'object')
) with (
    -- Neither statement changes an indexed column (touched only once a day), so with room on the page both are HOT updates:
    -- no index entry is written, and the next visitor of the page clears the dead versions away. A third of the page holds
    -- some twenty versions, enough for the keys of a page that are in flight at a time.
    fillfactor = 65,
    -- What pruning in the page does not get, vacuum has to before the table grows: at one per cent instead of twenty, which
    -- for five million keys would be a million dead versions.
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.05,
    -- It runs often and finds little; pauses would only let the dead versions of busy keys pile up.
    autovacuum_vacuum_cost_delay = 0
);

-- Keys that nobody has touched for ledger.retention are forgotten, oldest first. A day is all the precision that is needed,
-- and keeps the updates above out of this index.
create index ledger_by_touched on penstock.ledger (touched);

---- create above / drop below ----

drop table penstock.ledger;
drop table penstock.ledger_shapes;
