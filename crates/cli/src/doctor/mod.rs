//! `syncline doctor`: what this folder and this machine can do, and what to change.

mod facts;
mod findings;

use std::path::Path;

use serde_json::{Value, json};

use self::facts::Facts;
use self::findings::{Finding, Standing, findings};
use crate::control::ask_at;
use crate::failure::Failure;
use crate::report::{json_line, safe};
use crate::state_dir::state_path;

/// Looks at everything and says what it found; fails if something must be changed.
pub async fn run(path: &Path, json: bool) -> Result<(), Failure> {
    let fail = |what: String| Failure::usage(format!("{}: {what}", path.display()), "name a folder");
    let root = path.canonicalize().map_err(|error| fail(error.to_string()))?;
    let root = if root.is_dir() { root } else { root.parent().map(Path::to_owned).unwrap_or(root) };
    let status = ask_at(&state_path(&root), json!({"command": "status"})).await;
    let looked = root.clone();
    let gathered = tokio::task::spawn_blocking(move || Facts::gather(&looked));
    let mut facts = gathered.await.map_err(|error| Failure::other(error.to_string(), ""))?;
    facts.hub = status.and_then(|status| status.get("pid").and_then(Value::as_u64));
    let findings = findings(&facts);
    for finding in &findings {
        tell(finding, json);
    }
    let problems = findings.iter().filter(|finding| finding.standing == Standing::Problem).count();
    match problems {
        0 => Ok(()),
        1 => Err(Failure::other("there is a problem", "see what to change above")),
        many => Err(Failure::other(format!("there are {many} problems"), "see what to change above")),
    }
}

fn tell(finding: &Finding, json: bool) {
    let standing = finding.standing.name();
    if json {
        return json_line(&json!({
            "check": finding.check, "standing": standing, "said": finding.said, "advice": finding.advice,
        }));
    }
    println!("{standing:8} {:14} {}", finding.check, safe(&finding.said));
    if let Some(advice) = &finding.advice {
        println!("{:23} -> {}", "", safe(advice));
    }
}
