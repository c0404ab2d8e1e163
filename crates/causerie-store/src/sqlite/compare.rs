//! The database's schema beside the one that this program makes: tables, columns, types, indices, and nothing else.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row};

use super::tables::{make, make_blocks};

/// Returns the differences between a database's schema and the program's own for that format, in words.
pub(super) fn differences(db: &Connection, format: i64) -> rusqlite::Result<Vec<String>> {
    let ours = Connection::open_in_memory()?;
    make(&ours, format)?;
    // The first format had two search indices, one after the other.
    between(db, &ours, format > 1)
}

/// Returns the [`differences`] of the blocks' file.
pub(super) fn blocks_differences(blocks: &Connection) -> rusqlite::Result<Vec<String>> {
    let ours = Connection::open_in_memory()?;
    make_blocks(&ours)?;
    between(blocks, &ours, true)
}

fn between(db: &Connection, ours: &Connection, virtual_too: bool) -> rusqlite::Result<Vec<String>> {
    let (found, ours) = (shape(db, virtual_too)?, shape(ours, virtual_too)?);
    let missing = ours.difference(&found).map(|part| format!("missing: {part}"));
    let foreign = found.difference(&ours).map(|part| format!("not the program's: {part}"));
    Ok(missing.chain(foreign).collect())
}

/// Returns a schema as a set of its parts, with the arguments of virtual tables or without.
fn shape(db: &Connection, virtual_too: bool) -> rusqlite::Result<BTreeSet<String>> {
    let mut parts = BTreeSet::new();
    let mut each = |sql: &str, part: &dyn Fn(&Row<'_>) -> rusqlite::Result<String>| {
        let mut select = db.prepare(sql)?;
        for part in select.query_map([], |row| part(row))? {
            parts.insert(part?);
        }
        Ok::<_, rusqlite::Error>(())
    };
    // What belongs to SQLite itself, and to a virtual table, is not looked at.
    const TABLES: &str =
        "SELECT * FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')
        AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    each(TABLES, &|row| {
        let (name, kind): (String, String) = (row.get("name")?, row.get("type")?);
        let (without_rowid, strict): (bool, bool) = (row.get("wr")?, row.get("strict")?);
        let rowid = if without_rowid { " without rowid" } else { "" };
        Ok(format!("{kind} '{name}'{rowid}{}", if strict { ", strict" } else { "" }))
    })?;
    let columns =
        format!("SELECT t.name AS t, c.* FROM ({TABLES}) AS t, pragma_table_xinfo(t.name, 'main') AS c");
    each(&columns, &|row| {
        let (table, cid, name): (String, i64, String) = (row.get("t")?, row.get("cid")?, row.get(2)?);
        let (kind, not_null, key): (String, bool, i64) = (row.get(3)?, row.get("notnull")?, row.get("pk")?);
        let default: Option<String> = row.get("dflt_value")?;
        let hidden: i64 = row.get("hidden")?;
        let more = [
            (not_null, "not null".to_owned()),
            (default.is_some(), format!("default {}", default.unwrap_or_default())),
            (key > 0, format!("key {key}")),
            (hidden > 0, format!("hidden {hidden}")),
        ];
        let more: String =
            more.into_iter().filter(|(is, _)| *is).map(|(_, word)| format!(" {word}")).collect();
        Ok(format!("column {cid} of '{table}': '{name}' {kind}{more}"))
    })?;
    let indices = format!(
        "SELECT t.name, i.name, i.\"unique\", i.partial, c.seqno, c.name, c.desc, c.coll, c.key
         FROM ({TABLES}) AS t, pragma_index_list(t.name, 'main') AS i, pragma_index_xinfo(i.name, 'main') AS c"
    );
    each(&indices, &|row| {
        let (table, index): (String, String) = (row.get(0)?, row.get(1)?);
        let (unique, partial, at): (bool, bool, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let column: Option<String> = row.get(5)?;
        let (descending, collation, key): (bool, Option<String>, bool) =
            (row.get(6)?, row.get(7)?, row.get(8)?);
        Ok(format!(
            "index '{index}' of '{table}', part {at}: {} ({}{}{}{}{})",
            column.as_deref().unwrap_or("an expression"),
            collation.unwrap_or_default(),
            if unique { ", unique" } else { "" },
            if partial { ", partial" } else { "" },
            if descending { ", descending" } else { "" },
            if key { "" } else { ", beside" },
        ))
    })?;
    // Conditions of indices and arguments of virtual tables stand in their text only.
    let texts = format!(
        "SELECT name, sql FROM main.sqlite_schema WHERE (sql LIKE 'CREATE VIRTUAL %' AND {virtual_too})
         OR (type = 'index' AND sql IS NOT NULL)"
    );
    each(&texts, &|row| {
        let (name, sql): (String, String) = (row.get(0)?, row.get(1)?);
        let words: Vec<_> = sql.split_whitespace().collect();
        Ok(format!("'{name}' made by {}", words.join(" ")))
    })?;
    each("SELECT type, name, tbl_name FROM main.sqlite_schema WHERE type IN ('trigger', 'view')", &|row| {
        let (kind, name, table): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(if kind == "view" { format!("view '{name}'") } else { format!("trigger '{name}' on '{table}'") })
    })?;
    Ok(parts)
}
