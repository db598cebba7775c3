//! The result of a run of the suite: the JSON file holds it, and the table and the report are made from it.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    growth::Grown,
    header::Header,
    rows::{Latencies, Row},
};

#[derive(Serialize, Deserialize)]
pub struct Document {
    pub header: Header,
    pub rows: Vec<Row>,
    pub curves: Vec<Grown>,
    pub latencies: Vec<Latencies>,
    /// The failures, one line each.
    pub failures: Vec<String>,
}

/// How many goals were met.
#[derive(Clone, Copy, Default)]
pub struct Score {
    pub met: usize,
    pub missed: usize,
    /// Goals without a figure to judge them by.
    pub unknown: usize,
}

impl Document {
    pub fn score(&self) -> Score {
        let mut score = Score::default();
        for row in self.rows.iter().filter(|row| row.goal.is_some()) {
            match row.met {
                Some(true) => score.met += 1,
                Some(false) => score.missed += 1,
                None => score.unknown += 1,
            }
        }
        score
    }

    pub fn read(path: &Path) -> Result<Document, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        write(path, &(text + "\n"))
    }
}

pub fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

impl Score {
    pub fn goals(&self) -> usize {
        self.met + self.missed + self.unknown
    }

    pub fn text(&self) -> String {
        let unknown = match self.unknown {
            0 => String::new(),
            count => format!(", {count} could not be measured"),
        };
        format!("{} of {} goals met{unknown}", self.met, self.goals())
    }
}
