//! Things that people say, and how they are shown: bodies, names, texts.

pub mod body;
pub mod name;
pub mod plain;
pub mod reading;
pub mod text;
