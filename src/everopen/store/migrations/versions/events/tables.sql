-- Events out and durable work.

-- The outbox is now a mailbox that is emptied: writers put events in, the relay moves them to `events` and numbers them
-- there (see relay_events). The time of writing, not of the transaction's start: two transactions that touch one order wait
-- for each other's locks before they write, so this time tells their order, which no id and no transaction number does.
ALTER TABLE outbox ALTER created_at SET DEFAULT clock_timestamp();
ALTER TABLE outbox DROP COLUMN delivered_at;
-- (Emptied pages stay: to cut them off, a vacuum would lock out the orders.)
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000, vacuum_truncate = off);

CREATE TABLE events (
    seq bigint PRIMARY KEY,
    topic text NOT NULL,
    subject uuid NOT NULL,
    stream uuid NOT NULL,
    payload jsonb,
    created_at timestamptz NOT NULL
);
CREATE INDEX events_stream ON events (stream, seq);
COMMENT ON COLUMN events.stream IS 'the order that the event belongs to, else its subject: what is delivered in order';
COMMENT ON TABLE events IS 'what was announced, in one order: who has seen a number will never see a smaller one appear';

CREATE TABLE event_relay (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    last_seq bigint NOT NULL DEFAULT 0,
    purged_seq bigint NOT NULL DEFAULT 0,
    purged_before timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO event_relay DEFAULT VALUES;
COMMENT ON COLUMN event_relay.last_seq IS 'the newest number in events; whoever gives out the next ones holds this row';

CREATE TABLE subscribers (
    id uuid PRIMARY KEY,
    url text NOT NULL,
    topics text[] NOT NULL,
    description text NOT NULL DEFAULT '',
    secret text NOT NULL,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused')),
    reason text NOT NULL DEFAULT '',
    position bigint NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    next_at timestamptz NOT NULL DEFAULT now(),
    lease integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON COLUMN subscribers.topics IS 'empty: all';
COMMENT ON COLUMN subscribers.position IS 'events up to this number are delivered, held in deliveries, or not wanted';
COMMENT ON COLUMN subscribers.next_at IS 'when a worker may take it up: end of the lease, or of the pause after failures';
COMMENT ON COLUMN subscribers.lease IS 'grows with each take-over; what a former holder writes is refused';

-- Only what did not go through at once; what did leaves no row.
CREATE TABLE deliveries (
    subscriber_id uuid NOT NULL REFERENCES subscribers ON DELETE CASCADE,
    seq bigint NOT NULL,
    stream uuid NOT NULL,
    status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    problem text NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subscriber_id, seq)
);
CREATE INDEX deliveries_due ON deliveries (subscriber_id, next_at) WHERE status = 'waiting';
CREATE INDEX deliveries_stream ON deliveries (subscriber_id, stream, seq) WHERE status = 'waiting';

CREATE TABLE jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    repeats boolean NOT NULL DEFAULT false,
    due_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'done', 'dead')),
    attempt integer NOT NULL DEFAULT 0,
    spent integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL,
    worker text NOT NULL DEFAULT '',
    said text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
) WITH (fillfactor = 75);
CREATE UNIQUE INDEX jobs_once ON jobs (name, due_at) WHERE repeats;
CREATE UNIQUE INDEX jobs_one_open ON jobs (name) WHERE repeats AND status IN ('waiting', 'running');
CREATE INDEX jobs_next ON jobs (next_at) WHERE status IN ('waiting', 'running');
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE status IN ('done', 'dead');
COMMENT ON COLUMN jobs.repeats IS 'made by the clock: once per name and due time, and one at a time';
COMMENT ON COLUMN jobs.next_at IS 'waiting: when it may be tried; running: when its lease ends and another worker takes it up';
COMMENT ON COLUMN jobs.attempt IS 'how often it was begun; a worker writes its result only while this is its own number';
COMMENT ON COLUMN jobs.spent IS 'attempts before staff last had it retried; they do not count against its limit';
