//! `deploy/`, the Dockerfile and `compose.yaml`, each by its own checker, and what of them is settings by `taskwire config
//! check`. No image is built and nothing is run: there is no container engine. `scripts/test-tools` installs hadolint and
//! kubernetes-validate, `scripts/setup test` the rest.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::support::{
    Folder,
    process::{PROGRAM, run, taskwire},
    tools,
};

/// What a server takes to end, at the most (`App::stop`), in seconds.
const DRAIN: u64 = 10;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Runs a checker here.
fn checked(program: impl AsRef<Path>, arguments: &[&str]) -> Output {
    let program = program.as_ref();
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    output.unwrap_or_else(|error| panic!("{}: {error}: run scripts/setup test", program.display()))
}

#[track_caller]
fn passes(program: impl AsRef<Path>, arguments: &[&str]) -> String {
    let output = checked(program, arguments);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

/// One of the tools that `scripts/test-tools` installs.
fn tool(name: &str) -> PathBuf {
    tools().join("tests/bin").join(name)
}

/// The number behind a word, as in `TimeoutStopSec=30`.
fn number(text: &str, before: &str) -> u64 {
    let after = text.split(before).nth(1).unwrap_or_else(|| panic!("no {before}"));
    let digits: String = after.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number behind {before}"))
}

/// Expects settings that `serve` would take, and none that it does not know.
async fn are_settings(arguments: &[&str], variables: &[(String, String)]) {
    let mut command = taskwire(&[], [&["config", "check"], arguments].concat());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let (code, out, errors) = run(command).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
}

/// A folder with the two secrets, under the names that everybody mounts them by.
fn secrets() -> Folder {
    let folder = Folder::new();
    for name in ["database-password", "jwt-secret"] {
        fs::write(folder.join(name), "a secret of this test, of 32 bytes or more\n").unwrap();
    }
    folder
}

#[test]
fn the_dockerfile_is_sound_and_copies_what_is_there() {
    passes(tool("hadolint"), &["Dockerfile"]);
    let dockerfile = text("Dockerfile");
    let copies =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|copy| !copy.starts_with("--"));
    for copy in copies {
        let names: Vec<&str> = copy.split_whitespace().collect();
        for name in &names[..names.len() - 1] {
            assert!(root().join(name).exists(), "COPY {name}: there is no such thing");
        }
    }
    // As root nothing runs, and the toolchain is one that the project takes.
    assert!(dockerfile.contains("\nUSER 65532:65532\n"));
    assert!(number(&dockerfile, "FROM rust:1.") >= number(&text("Cargo.toml"), "rust-version = \"1."));
    // A checker that finds nothing at all would pass everything.
    let folder = Folder::new();
    fs::write(folder.join("Dockerfile"), "FROM debian\nRUN cd /tmp && sudo true\n").unwrap();
    let found = checked(tool("hadolint"), &[folder.join("Dockerfile").to_str().unwrap()]);
    assert!(!found.status.success());
}

/// Cargo looks for every target of the workspace that a manifest names, also of those that are not built.
#[test]
fn what_the_dockerfile_copies_is_enough_for_cargo() {
    let folder = Folder::new();
    let context = folder.join("image");
    passes(root().join("scripts/as-dockerfile"), &[context.to_str().unwrap(), "--copy"]);
    let cargo = std::env::var_os("CARGO").expect("cargo runs this test");
    // It prepares everything, and then has nothing to build. (`cargo metadata` overlooks targets without a file.)
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--offline", "--bin", "none-of-this-name"]);
    let output = command.current_dir(context.join("program/src")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no bin target named `none-of-this-name`"), "{said}");
}

#[tokio::test]
async fn the_compose_file_is_sound_and_its_variables_are_settings() {
    let config = passes("docker-compose", &["--file", "compose.yaml", "--profile", "monitoring", "config"]);
    for service in ["postgres:", "taskwire:", "prometheus:", "grafana:"] {
        assert!(config.lines().any(|line| line.trim() == service), "no {service} in {config}");
    }
    let secrets = secrets();
    let compose = text("compose.yaml");
    let server = compose.split("\n  taskwire:\n").nth(1).unwrap().split("\n  prometheus:\n").next().unwrap();
    let variables: Vec<(String, String)> = server
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(name, _)| name.starts_with("TASKWIRE_"))
        .map(|(name, value)| (name.to_owned(), value.replace("/run/secrets", secrets.path().to_str().unwrap())))
        .collect();
    assert!(variables.len() >= 4, "{variables:?}");
    are_settings(&[], &variables).await;
    assert!(number(server, "stop_grace_period:") > DRAIN);
    // Whatever is mounted is there; the secrets are the operator's.
    let mounted =
        compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")).map(|mount| mount.split(':').next());
    for path in mounted {
        assert!(root().join(path.unwrap()).exists(), "{path:?} is mounted");
    }
}

#[test]
fn prometheus_finds_the_server_of_the_compose_file() {
    // As scripts/prometheus gets it, where the system has none.
    let ours = tools().join("prometheus/promtool");
    let promtool = if ours.exists() { ours } else { "promtool".into() };
    let said = passes(promtool, &["check", "config", "deploy/prometheus/prometheus.yml"]);
    assert!(said.contains("1 rule files found"), "{said}");
    let config = text("deploy/prometheus/prometheus.yml");
    let port = number(&text("compose.yaml"), "TASKWIRE_METRICS_LISTEN: 0.0.0.0:");
    assert!(config.contains(&format!("\"taskwire:{port}\"")), "{config}");
}

#[tokio::test]
async fn the_manifests_are_sound_and_their_settings_count() {
    let names = ["config", "deployment", "service", "disruption-budget"];
    let paths = names.map(|name| format!("deploy/kubernetes/{name}.yaml"));
    let all = fs::read_dir(root().join("deploy/kubernetes")).unwrap().count();
    assert_eq!(all, names.len(), "a manifest that is not looked at");
    let arguments: Vec<&str> = ["--strict"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let said = passes(tool("kubernetes-validate"), &arguments);
    assert_eq!(said.matches(" passed ").count(), names.len(), "{said}");

    let deployment = text(&paths[1]);
    let grace = number(&deployment, "terminationGracePeriodSeconds:");
    assert!(grace > number(&deployment, "seconds:") + DRAIN, "it would be killed while it finishes");
    for probe in ["/health/live", "/health/ready"] {
        assert!(deployment.contains(probe));
    }
    // One that says nonsense is refused.
    let folder = Folder::new();
    fs::write(folder.join("wrong.yaml"), deployment.replace("replicas: 2", "replicas: many")).unwrap();
    let refused = checked(tool("kubernetes-validate"), &["--strict", folder.join("wrong.yaml").to_str().unwrap()]);
    assert!(!refused.status.success());

    let secrets = secrets();
    let map = text(&paths[0]);
    let lines = map.split("taskwire.toml: |\n").nth(1).unwrap().lines().map(str::trim_start).collect::<Vec<_>>();
    let settings = lines.join("\n").replace("/run/secrets/taskwire", secrets.path().to_str().unwrap());
    let file = folder.join("taskwire.toml");
    fs::write(&file, settings).unwrap();
    are_settings(&["--config", file.to_str().unwrap()], &[]).await;
}

#[tokio::test]
async fn the_unit_is_sound_and_its_variables_are_settings() {
    let (folder, secrets) = (Folder::new(), secrets());
    let unit = text("deploy/taskwire.service");
    // It wants the program to be there.
    let path = folder.join("taskwire.service");
    fs::write(&path, unit.replace("/usr/bin/taskwire", PROGRAM)).unwrap();
    let said = passes("systemd-analyze", &["verify", path.to_str().unwrap()]);
    assert_eq!(said, "", "{said}");
    fs::write(&path, unit.replace("RestartSec=5", "RestartSec=soon")).unwrap();
    let output = checked("systemd-analyze", &["verify", path.to_str().unwrap()]);
    assert!(!output.status.success() || !output.stderr.is_empty());

    assert!(number(&unit, "TimeoutStopSec=") > DRAIN);
    let set = unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    let variables: Vec<(String, String)> =
        set.map(|(name, value)| (name.to_owned(), value.replace("%d", secrets.path().to_str().unwrap()))).collect();
    assert_eq!(variables.len(), 2, "{variables:?}");
    are_settings(&[], &variables).await;
}

#[test]
fn all_of_them_name_this_version() {
    let image = format!("image: taskwire:{}\n", env!("CARGO_PKG_VERSION"));
    for path in ["compose.yaml", "deploy/kubernetes/deployment.yaml"] {
        assert!(text(path).contains(&image), "{path} does not name {image}");
    }
}
