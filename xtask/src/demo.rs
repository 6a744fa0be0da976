//! `cargo xtask demo`: a folder of sample files, served until Ctrl-C.

use crate::cargo::become_program;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The sample folder's files: something to edit as text, as a list and as code.
const SAMPLES: &[(&str, &str)] = &[
    (
        "README.md",
        "# A live folder\n\nEverything here is an ordinary file. Open one with any editor, in as many places as\n\
         you like, and save. What others change arrives while you work.\n",
    ),
    ("shopping.txt", "bread\nbutter\napples\ncoffee\n"),
    ("meeting/notes.md", "# Monday\n\n- who brings the projector?\n- next date:\n\n# Decisions\n\n"),
    ("code/hello.py", "def greet(name):\n    return f\"Hello, {name}!\"\n\n\nprint(greet(\"world\"))\n"),
];

/// Makes the folder, says what to do with it, and becomes the server.
pub fn run() -> Result<ExitCode, String> {
    let folder = std::env::temp_dir().join(format!("syncline-demo-{}", std::process::id()));
    make_samples(&folder)?;
    let copy = PathBuf::from(format!("{}-copy", folder.display()));
    let (folder, copy) = (folder.display().to_string(), copy.display().to_string());
    println!(
        "\
Syncline will serve the sample folder

    {folder}

When its join link appears below, take a live copy of the folder from another terminal:

    cargo run -p syncline-cli -- join 'LINK' {copy}

Then open the same file in both folders, for example

    vim {folder}/shopping.txt
    vim {copy}/shopping.txt

change different lines, and save in each: both changes end up in both files.
Ctrl-C stops the server; both folders stay, delete them when you are done.
"
    );
    become_program("syncline-cli", false, &["serve", &folder, "--listen", "127.0.0.1:0"])
}

fn make_samples(folder: &Path) -> Result<(), String> {
    for (name, text) in SAMPLES {
        let path = folder.join(name);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, text))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_written() {
        let folder = std::env::temp_dir().join(format!("syncline-demo-test-{}", std::process::id()));
        make_samples(&folder).unwrap();
        for (name, text) in SAMPLES {
            assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), *text);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
