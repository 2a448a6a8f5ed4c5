//! The fields of a container. All of it is made anew with the container.

use super::ReloadClass::Restart as Replace;
use super::fields::Fields;
use super::render::{bytes, list, text, word};
use crate::spec::container::{
    Access, Build, Container, Exec, Mount, MountSource, Network, Port, PortProtocol, PullPolicy,
    RootFs, Seccomp, Tmpfs,
};

impl Fields {
    pub(super) fn container(&mut self, container: &Container) {
        let Container {
            image,
            pull,
            build,
            entrypoint,
            working_dir,
            mounts,
            ports,
            root,
            tmpfs,
            shm,
            network,
            seccomp,
            capabilities,
            nofile,
            init,
        } = container;
        self.set("image", Replace, text(image));
        if *pull != PullPolicy::Missing {
            self.set("pull_policy", Replace, word(pull));
        }
        if let Some(build) = build {
            self.build(build);
        }
        let entrypoint = entrypoint.as_deref();
        let entrypoint = entrypoint.map(|words| list(words, |word| text(word)));
        self.set_some("entrypoint", Replace, entrypoint);
        let working_dir = working_dir.as_deref();
        let working_dir = working_dir.map(|dir| text(&dir.to_string_lossy()));
        self.set_some("container.working_dir", Replace, working_dir);
        self.set("volumes", Replace, list(mounts, mount));
        self.set("ports", Replace, list(ports, port));
        let read_only = *root == RootFs::ReadOnly;
        let path = "sandbox.read_only_filesystem";
        self.set(path, Replace, read_only.to_string());
        self.set("sandbox.writable", Replace, list(tmpfs, memory));
        self.set("sandbox.shm", Replace, bytes(*shm));
        match network {
            Network::None => {}
            // Its listeners are made with it; whom they lead to may change.
            Network::Listed(egress) => {
                self.set("sandbox.network", Replace, "listed".to_owned());
                self.egress(egress);
            }
            Network::Bridge => self.set("sandbox.network", Replace, "bridge".to_owned()),
        }
        if *seccomp != Seccomp::Default {
            self.set("sandbox.seccomp", Replace, word(seccomp));
        }
        let capabilities = list(capabilities, |name| text(name));
        self.set("sandbox.capabilities", Replace, capabilities);
        self.set("sandbox.limits.nofile", Replace, nofile.to_string());
        self.set("sandbox.init", Replace, word(init));
    }

    fn build(&mut self, build: &Build) {
        let Build {
            context,
            dockerfile,
            target,
            args,
        } = build;
        let path = |path: &std::path::Path| text(&path.to_string_lossy());
        self.set("build.context", Replace, path(context));
        self.set("build.dockerfile", Replace, path(dockerfile));
        self.set_some("build.target", Replace, target.as_deref().map(text));
        for (name, value) in args {
            self.variable("build.args", name, value);
        }
    }
}

fn mount(mount: &Mount) -> String {
    let source = match &mount.source {
        MountSource::Path(path) => path.to_string_lossy().into_owned(),
        MountSource::Volume(name) => name.clone(),
    };
    let access = match mount.access {
        Access::ReadOnly => ":ro",
        Access::ReadWrite => "",
    };
    text(&format!("{source}:{}{access}", mount.target.display()))
}

fn port(port: &Port) -> String {
    let protocol = match port.protocol {
        PortProtocol::Tcp => "",
        PortProtocol::Udp => "/udp",
    };
    let address = std::net::SocketAddr::new(port.host_ip, port.host_port);
    text(&format!("{address}:{}{protocol}", port.container_port))
}

fn memory(tmpfs: &Tmpfs) -> String {
    let exec = match tmpfs.exec {
        Exec::Allowed => "exec",
        Exec::Denied => "noexec",
    };
    text(&format!(
        "{} ({}, {exec})",
        tmpfs.target.display(),
        bytes(tmpfs.size)
    ))
}
