//! Side files and outputs: bounded reads, atomic writes, standard output whose reader may have gone.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};

/// The text of a file.
///
/// # Errors
/// When it cannot be read, is larger than the bound, or is not UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> anyhow::Result<String> {
    let name = || path.display().to_string();
    let file = File::open(path).with_context(name)?;
    if file.metadata().with_context(name)?.is_dir() {
        bail!("{} is a folder; a file is needed", name());
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).with_context(name)?;
    if bytes.len() as u64 > bytes_max {
        bail!("{} is larger than {} MiB", name(), bytes_max >> 20);
    }
    String::from_utf8(bytes).map_err(|error| anyhow::anyhow!("{}: not UTF-8 at byte {}", name(), error.utf8_error().valid_up_to()))
}

/// Writes to a file, which is replaced only when all is written, or to standard output.
///
/// # Errors
/// When writing fails; a reader that has gone away (`| head`) is no error.
pub fn write_out(path: Option<&Path>, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> anyhow::Result<()> {
    let Some(path) = path else {
        let mut sink = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
        return match fill(&mut sink).and_then(|()| sink.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output"),
            _ => Ok(()),
        };
    };
    write_atomically(path, fill)
}

/// Writes a file under another name beside it and puts it in its place.
///
/// # Errors
/// When writing fails; the old file is then untouched.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> anyhow::Result<()> {
    let name = || path.display().to_string();
    if path.exists() && !path.is_file() {
        // A pipe or a device (`/dev/stdout`) cannot be replaced.
        let mut sink = BufWriter::new(File::options().write(true).open(path).with_context(name)?);
        return fill(&mut sink).and_then(|()| sink.flush()).with_context(name);
    }
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut draft = target.clone().into_os_string();
    draft.push(format!(".{}.tmp", std::process::id()));
    let written = File::create(&draft).and_then(|file| {
        let mut sink = BufWriter::with_capacity(1 << 16, file);
        fill(&mut sink)?;
        sink.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&draft, &target)
    });
    written.inspect_err(|_| drop(std::fs::remove_file(&draft))).with_context(name)
}
