-- The index: derived from the log, deleted and rebuilt whenever in doubt.
-- Small on purpose: every byte here is written for every message that passes.

-- One row: below which position every record is in the index.
CREATE TABLE watermark (position INTEGER NOT NULL);

-- One row: the run of the system that it was last opened in, and whether it was closed.
CREATE TABLE opened (boot TEXT NOT NULL, clean INTEGER NOT NULL);

-- Item names, message types; all few.
CREATE TABLE item (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE kind (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);

-- A pair of items: one small number in place of two.
CREATE TABLE route (
    id INTEGER PRIMARY KEY, source INTEGER NOT NULL, target INTEGER NOT NULL,
    UNIQUE (source, target)
);

-- Reasons, notes, origins that repeat. A text may stand here twice: only recent ones are looked for.
CREATE TABLE text (id INTEGER PRIMARY KEY, text TEXT NOT NULL);

-- One row a header. NULL means the most frequent: session = id, body = session, Normal priority.
CREATE TABLE header (
    id INTEGER PRIMARY KEY,
    session INTEGER,
    route INTEGER NOT NULL,
    state INTEGER NOT NULL,
    created INTEGER NOT NULL,  -- ms since 1970
    took INTEGER,              -- ms until the final state
    attempts INTEGER NOT NULL,
    flags INTEGER,             -- possible duplicate + 2 * priority + 16 * answered
    body INTEGER,
    reason,                    -- the text itself, or its number in `text`
    note,                      -- the same
    reply INTEGER,             -- position of the record whose first body it is
    reply_len INTEGER,
    cause INTEGER              -- how much smaller the id of the header that led to this one is
);
CREATE INDEX header_session ON header (session) WHERE session IS NOT NULL;
-- Completed is 9: what waits or failed is few, and looked for most.
CREATE INDEX header_waiting ON header (state) WHERE state <> 9;

-- One row a body: its id is that of the first header that points at it (negative for a body of
-- its own on the first leg of a message, whose id the message's body has).
CREATE TABLE body (
    id INTEGER PRIMARY KEY,
    session INTEGER,
    position INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    len INTEGER NOT NULL,
    content INTEGER NOT NULL,
    kind INTEGER,
    control TEXT,
    patient TEXT,
    origin,                    -- as header.reason
    resent INTEGER
);
-- Keys come in any order, and a page that is touched is a page that is written. So each stretch of
-- 65536 ids has its own part of the index: inserts stay within a megabyte, a search asks each part.
CREATE INDEX body_control ON body (abs(id) >> 16, control) WHERE control IS NOT NULL;
CREATE INDEX body_patient ON body (abs(id) >> 16, patient) WHERE patient IS NOT NULL;

-- Further patient identifiers of a body.
CREATE TABLE alias (
    stretch INTEGER NOT NULL, patient TEXT NOT NULL, body INTEGER NOT NULL,
    PRIMARY KEY (stretch, patient, body)
) WITHOUT ROWID;

-- Ids grow with time, so blocks of 4096 of them take the place of indexes on time, item and type.
CREATE TABLE block (
    id INTEGER PRIMARY KEY, min_ms INTEGER NOT NULL, max_ms INTEGER NOT NULL,
    position INTEGER NOT NULL
);
CREATE TABLE block_route (
    route INTEGER NOT NULL, block INTEGER NOT NULL, headers INTEGER NOT NULL,
    bytes INTEGER NOT NULL, PRIMARY KEY (route, block)
) WITHOUT ROWID;
CREATE TABLE block_kind (
    kind INTEGER NOT NULL, block INTEGER NOT NULL, PRIMARY KEY (kind, block)
) WITHOUT ROWID;

-- How many headers of a route are in a state.
CREATE TABLE tally (
    route INTEGER NOT NULL, state INTEGER NOT NULL, headers INTEGER NOT NULL,
    PRIMARY KEY (route, state)
) WITHOUT ROWID;
