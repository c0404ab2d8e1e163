//! The tables of each format, in the file that takes the commits, and those of the file that has the blocks.

use rusqlite::{Connection, OptionalExtension};

/// The newest format that this version knows.
pub(super) const FORMAT: i64 = STEPS.len() as i64;
/// The additions of each format to the one before. A new one goes behind them; these stay as they are.
pub(super) const STEPS: [Migration; 7] = [
    Migration { change: SCHEMA, stand_in: "" },
    Migration { change: MARKS, stand_in: NO_MARKS },
    Migration { change: HOSTED, stand_in: NOT_HOSTED },
    Migration { change: CUT, stand_in: NO_CUTS },
    Migration { change: TOKENS, stand_in: "" },
    Migration { change: CLOSED, stand_in: NOT_CLOSED },
    Migration { change: APART, stand_in: TOGETHER },
];

/// The way from one format to the next.
pub(super) struct Migration {
    pub(super) change: &'static str,
    /// Tables in its place, in the connection's memory, while a store of an older format is only read.
    pub(super) stand_in: &'static str,
}

/// The first tables. `staging` holds one row for each commit, all rooms' runs in it. `place` says which block
/// has which positions (and its own checksum), `block` has the bytes: apart, so that the first stays small,
/// and the second grows at its end. `author` finds a member's messages: one row for each block and member.
/// `words` is the search index; texts are taken out by telling it what they were, since there are the
/// records.
const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE room (id INTEGER PRIMARY KEY, name TEXT NOT NULL, port INTEGER, creator TEXT NOT NULL,
    epoch INTEGER NOT NULL, created INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE kept (room INTEGER PRIMARY KEY, first INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE closing (room INTEGER PRIMARY KEY);
CREATE TABLE checkpoint (room INTEGER PRIMARY KEY, position INTEGER NOT NULL, crc INTEGER NOT NULL,
    state BLOB NOT NULL);
CREATE TABLE member (room INTEGER NOT NULL, member INTEGER NOT NULL, name TEXT NOT NULL,
    joined_at INTEGER NOT NULL, left_at INTEGER, taken INTEGER NOT NULL, token BLOB, nonce BLOB,
    crc INTEGER NOT NULL, PRIMARY KEY (room, member)) WITHOUT ROWID;
CREATE INDEX present ON member (room) WHERE left_at IS NULL;
CREATE INDEX known ON member (room) WHERE token IS NOT NULL;
CREATE TABLE staging (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, head BLOB NOT NULL, frames BLOB NOT NULL);
CREATE TABLE block (id INTEGER PRIMARY KEY, directory BLOB NOT NULL, frames BLOB NOT NULL);
CREATE TABLE place (room INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    bytes INTEGER NOT NULL, block INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (room, first)) WITHOUT ROWID;
CREATE TABLE author (room INTEGER NOT NULL, member INTEGER NOT NULL, first_seq INTEGER NOT NULL,
    block_first INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    PRIMARY KEY (room, member, first_seq, block_first)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (text, content='', columnsize=0);
";

/// Names under which records are found again.
const MARKS: &str = "
CREATE TABLE mark (room INTEGER NOT NULL, name BLOB NOT NULL, position INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (room, name, position)) WITHOUT ROWID;
CREATE INDEX marks_of ON mark (room, position);
";

const NO_MARKS: &str = "CREATE TEMP TABLE mark (room INTEGER, name BLOB, position INTEGER, crc INTEGER);";

/// The mark of members for whom the server speaks and that can come back.
const HOSTED: &str = "ALTER TABLE member ADD COLUMN hosted INTEGER NOT NULL DEFAULT 0;";
const NOT_HOSTED: &str = "CREATE TEMP VIEW member AS SELECT *, 0 AS hosted FROM main.member;";

/// The key that may close a room, and the time when it was closed.
const CLOSED: &str = "ALTER TABLE room ADD COLUMN maker BLOB; ALTER TABLE room ADD COLUMN closed INTEGER;";
const NOT_CLOSED: &str = "CREATE TEMP VIEW room AS SELECT *, NULL AS maker, NULL AS closed FROM main.room;";

/// Rooms whose end may be lost, until their next checkpoint.
const CUT: &str = "CREATE TABLE cut (room INTEGER PRIMARY KEY);";
const NO_CUTS: &str = "CREATE TEMP TABLE cut (room INTEGER PRIMARY KEY);";

/// The index of the tokens that `words.rs` makes of texts, in place of SQLite's own words: blocks go into it
/// bit by bit, from `up_to` downwards.
const TOKENS: &str = "
DROP TABLE words;
CREATE VIRTUAL TABLE words USING fts5 (text, content='', columnsize=0, tokenize='ascii');
CREATE TABLE unindexed (room INTEGER PRIMARY KEY, up_to INTEGER NOT NULL);
INSERT INTO unindexed SELECT room, max(last) FROM place GROUP BY room;
";

/// The change to a file of their own for blocks and index. `moved` says of a room that it has come so far
/// at least, though its staging rows are gone. What `block`, `place` and `author` have of older formats goes
/// over bit by bit, and is indexed then; `kept` is read when the other file is made. `store` is by what the
/// two files know each other, and once there is something in the other alone, `moved` in `meta` says so.
const APART: &str = "
DROP TABLE words;
DROP TABLE unindexed;
CREATE TABLE moved (room INTEGER PRIMARY KEY, last INTEGER NOT NULL, crc INTEGER NOT NULL);
INSERT INTO meta VALUES ('store', random());
";
const TOGETHER: &str = "CREATE TEMP TABLE moved (room INTEGER, last INTEGER, crc INTEGER);";

/// The format of the blocks' file.
pub(super) const BLOCKS_FORMAT: i64 = 1;

/// The blocks' file: what [`SCHEMA`] says of these tables, and the index of [`TOKENS`]. `synced` in `meta` is
/// counted up where all before it has to be on the disk.
const BLOCKS: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE kept (room INTEGER PRIMARY KEY, first INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE block (id INTEGER PRIMARY KEY, directory BLOB NOT NULL, frames BLOB NOT NULL);
CREATE TABLE place (room INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    bytes INTEGER NOT NULL, block INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (room, first)) WITHOUT ROWID;
CREATE TABLE author (room INTEGER NOT NULL, member INTEGER NOT NULL, first_seq INTEGER NOT NULL,
    block_first INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    PRIMARY KEY (room, member, first_seq, block_first)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (text, content='', columnsize=0, tokenize='ascii');
";

/// Parts of the index of one size that gather before they are merged into one, and at which a write waits for that [FTS5, 6.1 and
/// 6.2]; by default 4 and 16. Merging is most of what the mover does: with these it moves a third more a second, and searches take
/// as long.
const INDEX_SETTINGS: [(&str, i64); 2] = [("automerge", 16), ("crisismerge", 64)];

/// Sets the index of the blocks' file so, if it is not.
pub(super) fn tune_index(db: &Connection) -> rusqlite::Result<()> {
    for (name, value) in INDEX_SETTINGS {
        let known =
            db.query_row("SELECT v FROM words_config WHERE k = ?1", [name], |row| row.get::<_, i64>(0));
        if known.optional()? != Some(value) {
            db.execute("INSERT INTO words (words, rank) VALUES (?1, ?2)", (name, value))?;
        }
    }
    Ok(())
}

/// Makes the tables of the blocks' file, in an empty database.
pub(super) fn make_blocks(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(BLOCKS)
}

/// Makes the tables of a format, in an empty database.
pub(super) fn make(db: &Connection, format: i64) -> rusqlite::Result<()> {
    STEPS.iter().take(usize::try_from(format).unwrap_or(0)).try_for_each(|step| db.execute_batch(step.change))
}
