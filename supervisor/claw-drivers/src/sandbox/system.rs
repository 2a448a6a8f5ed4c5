//! What of the system every agent sees: programs, libraries, and the few files that they read.

use std::path::{Path, PathBuf};

use super::confinement::{Access, Bind, Exec, Network};
use super::privileges::INSIDE;

/// Programs and libraries. Where these are links into `/usr`, they are links inside, too.
const PROGRAMS: [&str; 7] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
];

/// What programs of many kinds read, and what tells nothing of the machine's users.
const SETTINGS: [&str; 15] = [
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "fonts",
    "ld.so.cache",
    "localtime",
    "mime.types",
    "os-release",
    "perl",
    "pki",
    "protocols",
    "services",
    "ssl",
    "timezone",
    "gai.conf",
];

/// Beginnings of names of settings that have a version in them.
const VERSIONED: [&str; 2] = ["python", "java"];

/// Settings of a host whose network an agent shares.
const OF_NETWORK: [&str; 2] = ["hosts", "resolv.conf"];

/// Where devices are that hold no data.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Where an agent finds its own home.
pub(crate) const HOME: &str = "/tmp/home";

/// The name of its user.
pub(crate) const USER: &str = "agent";

/// What every agent sees.
#[derive(Debug, Clone)]
pub(crate) struct System {
    pub(super) binds: Vec<Bind>,
    pub(super) links: Vec<(PathBuf, PathBuf)>,
}

impl System {
    /// Looks at the host. Blocks.
    pub(crate) fn look() -> Self {
        let mut found = Self {
            binds: Vec::new(),
            links: Vec::new(),
        };
        for path in PROGRAMS {
            found.add(Path::new(path));
        }
        for name in settings() {
            found.add(&Path::new("/etc").join(name));
        }
        for name in DEVICES {
            let path = Path::new("/dev").join(name);
            found.binds.push(Bind {
                source: path.clone(),
                target: path,
                access: Access::Use,
                exec: Exec::Denied,
            });
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            let path = Path::new("/dev").join(name);
            found.links.push((path, PathBuf::from(target)));
        }
        let mounts = PathBuf::from("/proc/self/mounts");
        found.links.push((PathBuf::from("/etc/mtab"), mounts));
        found
    }

    /// A link into what is seen anyway stays a link; anything else is seen as it is.
    fn add(&mut self, path: &Path) {
        let Ok(source) = path.canonicalize() else {
            return;
        };
        if path.is_symlink() && source.starts_with("/usr") {
            self.links.push((path.to_owned(), source));
            return;
        }
        self.binds.push(Bind {
            source,
            target: path.to_owned(),
            access: Access::Read,
            exec: Exec::Allowed,
        });
    }

    /// What is read of the host's network settings by those who share it.
    pub(super) fn network_settings() -> Vec<Bind> {
        let mut found = Self {
            binds: Vec::new(),
            links: Vec::new(),
        };
        for name in OF_NETWORK {
            found.add(&Path::new("/etc").join(name));
        }
        found.binds
    }

    /// Every path of it, for rules.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let binds = self.binds.iter().map(|bind| bind.target.clone());
        // Those to what a process has open lead to what no rule can be about.
        let links = self.links.iter().filter(|(_, to)| !to.starts_with("/proc"));
        let links = links.map(|(path, _)| path.clone());
        let databases = ["passwd", "group", "hosts", "resolv.conf", "nsswitch.conf"];
        let databases = databases.iter().map(|name| Path::new("/etc").join(name));
        binds.chain(links).chain(databases).collect()
    }
}

fn settings() -> Vec<String> {
    let names = std::fs::read_dir("/etc").into_iter().flatten().flatten();
    let versioned = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| VERSIONED.iter().any(|begin| name.starts_with(begin)));
    let mut all: Vec<String> = SETTINGS.iter().map(ToString::to_string).collect();
    all.extend(versioned);
    all
}

/// Files of our own making, in place of those that tell of the machine.
pub(super) fn files(hostname: &str, network: Network) -> Vec<(PathBuf, String)> {
    let inside = INSIDE;
    let mut files = vec![
        (
            "passwd",
            format!(
                "root:x:0:0:root:/:/usr/sbin/nologin\n\
                 {USER}:x:{inside}:{inside}:{USER}:{HOME}:/bin/sh\n\
                 nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
            ),
        ),
        (
            "group",
            format!("root:x:0:\n{USER}:x:{inside}:\nnogroup:x:65534:\n"),
        ),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"
                .to_owned(),
        ),
        ("hostname", format!("{hostname}\n")),
    ];
    if network != Network::Host {
        let hosts = format!("127.0.0.1 localhost {hostname}\n::1 localhost\n");
        files.push(("hosts", hosts));
        files.push(("resolv.conf", "nameserver 127.0.0.1\n".to_owned()));
    }
    files
        .into_iter()
        .map(|(name, text)| (Path::new("/etc").join(name), text))
        .collect()
}
