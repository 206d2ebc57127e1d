//! Puts the commit into `taskwire --version`, and the pages of `web/dist`, where they have been built, into the program.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    tell_commit();
    embed_pages()
}

fn tell_commit() {
    // Where there is no repository, as in an image's build, the variable says it.
    let told = env::var("TASKWIRE_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).or(told).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rerun-if-env-changed=TASKWIRE_COMMIT");
    println!("cargo::rustc-env=TASKWIRE_COMMIT={commit}");
    println!("cargo::rerun-if-changed=build.rs");
    // HEAD names the branch; its log grows with every commit on it.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

/// Writes the table of the pages' files that `src/http/pages/files.rs` includes. It is empty where `scripts/web` has not
/// run: the server is built and does its work without pages.
fn embed_pages() -> io::Result<()> {
    let dist = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("web/dist");
    // Cargo would run this again and again for a folder that is not there.
    fs::create_dir_all(&dist).ok();
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut table = String::from("&[\n");
    for (name, path) in files(&dist)? {
        let (brotli, gzip) = (format!("{}.br", path.display()), format!("{}.gz", path.display()));
        if !Path::new(&brotli).is_file() || !Path::new(&gzip).is_file() {
            println!("cargo::warning=web/dist is not complete and is left out: run scripts/web");
            table.truncate("&[\n".len());
            break;
        }
        let mut hasher = DefaultHasher::new();
        fs::read(&path)?.hash(&mut hasher);
        let tag = format!("W/\"{:016x}\"", hasher.finish());
        writeln!(
            table,
            "File {{ name: {name:?}, tag: {tag:?}, brotli: include_bytes!({brotli:?}), gzip: include_bytes!({gzip:?}) }},"
        )
        .map_err(io::Error::other)?;
    }
    table.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("pages.rs"), table)
}

/// The files below a folder but the compressed ones, by their names from there, sorted.
fn files(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|ending| ending != "br" && ending != "gz") {
                let name = path.strip_prefix(folder).map_err(io::Error::other)?;
                found.push((name.to_string_lossy().replace('\\', "/"), path));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// None where there is no git, or no repository: a build from an archive is fine.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
