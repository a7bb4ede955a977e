//! Imports batches of rows into the tables of one SQLite database, with an adaptive limit for each table.
//!
//! Each table has a source, which takes some time to give a batch. While a task waits for its source, it holds a permit of its
//! table. Then it writes the batch in one transaction. SQLite lets one connection write at a time, and tells all others
//! `SQLITE_BUSY`. The task then calls `overloaded`, and is tried again later. So the limit of a table falls if its tasks meet other
//! writers, and rises if they do not. No limit is configured.
//!
//! `ci/import`, or `cargo run --release --manifest-path import/Cargo.toml`

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::cell::RefCell;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tollgate::{Adaptive, Job, Pool, Retry};

/// The most tasks of one table at once.
const MOST: usize = 16;

/// A table, and how its source gives the rows.
#[derive(Clone, Copy)]
struct Table {
    name: &'static str,
    batches: usize,
    rows: usize,
    /// How long the source takes for one batch.
    source: Duration,
}

const TABLES: [Table; 3] = [
    Table { name: "customers", batches: 100, rows: 20, source: Duration::from_millis(12) },
    Table { name: "orders", batches: 100, rows: 100, source: Duration::from_millis(4) },
    Table { name: "events", batches: 100, rows: 400, source: Duration::ZERO },
];

/// What the tasks of one table have met.
#[derive(Default)]
struct Met {
    busy: AtomicUsize,
    /// The limit at the end of each batch, summed up.
    limits: AtomicUsize,
}

thread_local! {
    /// The connection of this worker.
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// Opens a connection that never waits for another writer.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "synchronous", "off")?;
    Ok(connection)
}

/// Writes one batch in one transaction.
fn write(path: &Path, table: Table, rows: &[(usize, String)]) -> rusqlite::Result<()> {
    CONNECTION.with_borrow_mut(|slot| {
        let connection = match slot {
            Some(connection) => connection,
            None => slot.insert(open(path)?),
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let insert = format!("INSERT INTO {} (id, body) VALUES (?1, ?2)", table.name);
        let mut statement = transaction.prepare(&insert)?;
        for row in rows {
            statement.execute((row.0 as i64, &row.1))?;
        }
        drop(statement);
        transaction.commit()
    })
}

/// Gets the rows of one batch from the table's source.
fn fetch(table: Table, batch: usize) -> Vec<(usize, String)> {
    std::thread::sleep(table.source);
    let first = batch * table.rows;
    (first..first + table.rows).map(|id| (id, format!("{} {id}", table.name))).collect()
}

/// Spawns one task for each batch of the table. A batch that meets another writer is tried again.
fn import(
    path: &Arc<PathBuf>,
    table: Table,
    job: &Job,
    met: &Arc<Met>,
) -> Vec<tollgate::TaskHandle<Tried>> {
    let policy = Retry::new()
        .attempts(10_000)
        .first_delay(Duration::from_millis(1))
        .longest_delay(Duration::from_millis(20));
    let spawn = |batch| {
        let (path, job, met) = (path.clone(), job.clone(), met.clone());
        let mut rows = None;
        job.clone().spawn_retry(policy, move || {
            let rows = rows.get_or_insert_with(|| fetch(table, batch));
            let written = write(&path, table, rows);
            if written.as_ref().is_err_and(is_busy) {
                met.busy.fetch_add(1, Ordering::Relaxed);
                tollgate::overloaded();
            } else {
                met.limits.fetch_add(job.limit(), Ordering::Relaxed);
            }
            written
        })
    };
    (0..table.batches).map(spawn).collect()
}

/// The outcome of a batch.
type Tried = tollgate::Retried<(), rusqlite::Error>;

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Removes the folder of the database at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder =
        Folder(std::env::temp_dir().join(format!("tollgate-import-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0)?;
    let path = Arc::new(folder.0.join("import.sqlite"));
    let database = open(&path)?;
    database.pragma_update(None, "journal_mode", "wal")?;
    for Table { name, .. } in TABLES {
        database
            .execute_batch(&format!("CREATE TABLE {name} (id INTEGER PRIMARY KEY, body TEXT)"))?;
    }

    let pool = Pool::builder().workers(2 * MOST).build()?;
    // A job for each table, made at its first batch. Its limit finds itself.
    let adaptive = || Adaptive::new(1..=MOST).interval(Duration::from_millis(10));
    let tables = pool
        .job_builder()
        .keyed(move |_: &String, table| table.limit(MOST / 2).adaptive(adaptive()));
    let began = Instant::now();
    let started = TABLES.map(|table| {
        let (job, met) = (tables.job(table.name), Arc::new(Met::default()));
        let tasks = import(&path, table, &job, &met);
        (table, job, met, tasks)
    });
    println!("table      rows    busy  mean limit  last limit");
    for (table, job, met, tasks) in started {
        for task in tasks {
            task.join()?.result?;
        }
        job.wait();
        let rows: i64 =
            database
                .query_row(&format!("SELECT count(*) FROM {}", table.name), [], |row| row.get(0))?;
        assert_eq!(rows as usize, table.batches * table.rows, "a row of {} is missing", table.name);
        let (busy, last) = (met.busy.load(Ordering::Relaxed), job.limit());
        let mean = met.limits.load(Ordering::Relaxed) as f64 / table.batches as f64;
        assert!((1..=MOST).contains(&last), "the limit of {} has left its range", table.name);
        println!("{:<9} {rows:>6} {busy:>6} {mean:>11.1} {last:>11}", table.name);
    }
    println!("all rows are there, in {:.1?}", began.elapsed());
    pool.shutdown();
    Ok(())
}
