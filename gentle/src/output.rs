//! The files that results are written to.
//!
//! A file is written under a temporary name beside the target and then renamed. The target is whole at any time: the
//! file from before, or the new one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard};

/// The temporary files that exist now.
static TEMPORARIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file that the command reads.
#[derive(Debug)]
pub(crate) struct Input {
    /// What an error calls the file, such as "the plan".
    pub(crate) what: String,
    /// The path; `None` for standard input.
    pub(crate) path: Option<PathBuf>,
}

/// An option that names a file to write.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The option, such as `--json`.
    pub(crate) option: &'static str,
    /// The path; `-` is standard output.
    pub(crate) path: PathBuf,
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Output {
    wanted: Wanted,
    target: Target,
}

#[derive(Debug)]
enum Target {
    StandardOutput,
    /// A device or a pipe, which cannot be replaced.
    Direct(BufWriter<File>),
    /// A file that is renamed when it is whole.
    Renamed {
        temporary: Temporary,
        path: PathBuf,
        writer: BufWriter<File>,
    },
}

/// A temporary file, which is deleted with this value.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        temporaries().retain(|path| *path != self.0);
        // After the rename there is no file of this name.
        _ = fs::remove_file(&self.0);
    }
}

/// Deletes the temporary files of all outputs. Call it before the process exits without dropping them.
pub(crate) fn remove_temporaries() {
    for path in temporaries().drain(..) {
        _ = fs::remove_file(path);
    }
}

fn temporaries() -> MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARIES.lock().expect("nothing panics under this lock")
}

/// Checks all outputs against the inputs and against each other, then opens them.
///
/// # Errors
///
/// If an output is an input or another output, or cannot be written. Then no file has been changed.
pub(crate) fn open_all(inputs: &[Input], wanted: &[Wanted]) -> Result<Vec<Output>, String> {
    for (at, wanted_here) in wanted.iter().enumerate() {
        let name = || format!("{} {}", wanted_here.option, wanted_here.path.display());
        if let Some(own) = identity(&wanted_here.path) {
            let same = |input: &&Input| input.identity() == Some(own);
            if let Some(input) = inputs.iter().find(same) {
                let what = &input.what;
                return Err(format!("{} would overwrite {what}: name another file", name()));
            }
        }
        let same = |other: &&Wanted| other.is_same_file(wanted_here);
        if let Some(other) = wanted[..at].iter().find(same) {
            let other = other.option;
            return Err(format!("{} would overwrite {other}: name another file", name()));
        }
    }
    wanted.iter().map(Output::open).collect()
}

/// The device and the number of a file. `None` if there is no regular file of this name.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|file| (file.dev(), file.ino()))
}

impl Input {
    fn identity(&self) -> Option<(u64, u64)> {
        match &self.path {
            Some(path) => identity(path),
            None => {
                let input = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
                let file = input.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((file.dev(), file.ino()))
            }
        }
    }
}

impl Wanted {
    /// Returns true if both name the same file, which need not exist, or both name standard output.
    fn is_same_file(&self, other: &Wanted) -> bool {
        if is_dash(&self.path) || is_dash(&other.path) {
            return self.path == other.path;
        }
        match (identity(&self.path), identity(&other.path)) {
            (None, None) => {
                let place = |path: &Path| Some((directory(path).canonicalize().ok()?, name(path)?));
                !self.path.exists() && place(&self.path) == place(&other.path)
            }
            (own, its) => own == its,
        }
    }
}

/// Returns true if the path is `-`, which stands for standard input or output.
pub(crate) fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn name(path: &Path) -> Option<OsString> {
    path.file_name().map(OsString::from)
}

impl Output {
    fn open(wanted: &Wanted) -> Result<Self, String> {
        let target = Target::open(&wanted.path).map_err(|error| {
            let path = wanted.path.display();
            format!("{} {path}: {error}: name a file that can be written", wanted.option)
        });
        Ok(Output { wanted: wanted.clone(), target: target? })
    }

    /// The option that names the file.
    pub(crate) fn option(&self) -> &'static str {
        self.wanted.option
    }

    /// Returns true if the file's name ends in `.html`.
    #[cfg(feature = "timeline")]
    pub(crate) fn names_a_page(&self) -> bool {
        self.wanted.path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("html"))
    }

    /// Returns true if the output goes to standard output.
    pub(crate) fn is_standard_output(&self) -> bool {
        matches!(self.target, Target::StandardOutput)
    }

    /// Writes a part of the file.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.target {
            Target::StandardOutput => io::stdout().write_all(bytes),
            Target::Direct(writer) | Target::Renamed { writer, .. } => writer.write_all(bytes),
        }
    }

    /// Ends the file and puts it in the target's place.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.target {
            Target::StandardOutput => io::stdout().flush(),
            Target::Direct(mut writer) => writer.flush(),
            Target::Renamed { temporary, path, mut writer } => {
                writer.flush()?;
                writer.get_ref().sync_all()?;
                fs::rename(&temporary.0, path)
            }
        }
    }
}

impl Target {
    fn open(path: &Path) -> io::Result<Self> {
        if is_dash(path) {
            return Ok(Target::StandardOutput);
        }
        let before = fs::metadata(path).ok();
        if let Some(before) = &before
            && !before.is_file()
        {
            let file = OpenOptions::new().write(true).open(path)?;
            return Ok(Target::Direct(BufWriter::new(file)));
        }
        if before.is_some() {
            // A file that may not be written must not be replaced either.
            OpenOptions::new().append(true).open(path)?;
        }
        // A symbolic link stays; the file that it points to is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = name(&path).ok_or(io::ErrorKind::IsADirectory)?;
        let mut beside = OsString::from(".");
        beside.push(&name);
        beside.push(format!(".{}.tmp", process::id()));
        let beside = directory(&path).join(beside);
        let file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
        temporaries().push(beside.clone());
        let temporary = Temporary(beside);
        if let Some(before) = before {
            file.set_permissions(before.permissions())?;
        }
        Ok(Target::Renamed { temporary, path, writer: BufWriter::new(file) })
    }
}
