//! A filter of system calls, as a program of the kernel's small machine (`seccomp(2)`).
//!
//! Numbers of calls with the same answer follow one another, so the filter looks for ranges and not
//! for single calls, by halves: a tenth of the instructions, and of the time that the kernel takes
//! to install it, which is part of each start. Libraries that write filters compare each call for itself.

use std::collections::BTreeMap;
use std::io;

use nix::libc::{self, sock_filter};

use super::calls;
use super::confinement::{Filter, Internet, Otherwise};
use super::fault::Fault;

/// Where the kernel puts what a filter looks at (`struct seccomp_data`).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// The lower half of an argument; flags and small numbers are there.
const fn argument(index: u32) -> u32 {
    let low = if cfg!(target_endian = "big") { 4 } else { 0 };
    16 + 8 * index + low
}

const LOAD: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
const RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);
const EQUAL: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
const AT_LEAST: u16 = code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
const ALWAYS: u16 = code(libc::BPF_JMP | libc::BPF_JA);
const ANY_BIT: u16 = code(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K);

/// The parts of an instruction are constants of 32 bits that need 16.
const fn code(parts: u32) -> u16 {
    let [low, high, ..] = parts.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(target_arch = "x86_64")]
const OWN_ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const OWN_ARCH: u32 = 0xC000_00B7;

/// Calls from here on are those of the x32 interface.
const OTHER_INTERFACE: u32 = 0x4000_0000;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

const fn fail(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (errno.unsigned_abs() & libc::SECCOMP_RET_DATA)
}

/// New namespaces of any kind.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET)
    .unsigned_abs()
    // CLONE_NEWTIME shares its bit with the signal of a child's end, which is never that large.
    | 0x80;

/// Modes of `personality(2)` that are harmless: none, and the question for it.
const PERSONALITIES: [u32; 3] = [0, 8, u32::MAX];

/// Terminals whose input can be forged (`TIOCSTI`, `TIOCLINUX`).
const FORGERIES: [u32; 2] = [0x5412, 0x541C];

/// Installs the filter for this process and what it makes.
pub(crate) fn install(filter: &Filter) -> Result<(), Fault> {
    let program = compile(filter);
    let attempt = || {
        let length = u16::try_from(program.len()).map_err(io::Error::other)?;
        let description = libc::sock_fprog {
            len: length,
            filter: program.as_ptr().cast_mut(),
        };
        // SAFETY: the description names an array that lives across the call, with its length; the
        // kernel copies it and writes nothing.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const description,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    attempt().map_err(Fault::of("cannot install the filter of system calls"))
}

/// A program in the making.
struct Program {
    code: Vec<sock_filter>,
    refusal: u32,
}

fn compile(filter: &Filter) -> Vec<sock_filter> {
    let refusal = match filter.otherwise {
        Otherwise::Fail => fail(libc::EPERM),
        Otherwise::Log => libc::SECCOMP_RET_LOG,
    };
    let mut program = Program {
        code: Vec::with_capacity(256),
        refusal,
    };
    program.load(ARCH);
    program.jump(EQUAL, OWN_ARCH, 1, 0);
    program.answer(KILL);
    program.load(NUMBER);
    if cfg!(target_arch = "x86_64") {
        program.jump(AT_LEAST, OTHER_INTERFACE, 0, 1);
        program.answer(KILL);
    }
    for (_, number) in calls::CONDITIONAL {
        if !filter.also.contains(number) {
            program.conditional(*number, filter);
        }
    }
    program.ranges(filter);
    program.code
}

impl Program {
    fn load(&mut self, offset: u32) {
        self.code.push(sock_filter {
            code: LOAD,
            jt: 0,
            jf: 0,
            k: offset,
        });
    }

    fn answer(&mut self, answer: u32) {
        self.code.push(sock_filter {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: answer,
        });
    }

    fn jump(&mut self, code: u16, operand: u32, holds: u8, fails: u8) {
        self.code.push(sock_filter {
            code,
            jt: holds,
            jf: fails,
            k: operand,
        });
    }

    /// Answers at once when what is loaded equals `operand`.
    fn answer_if(&mut self, operand: u32, answer: u32) {
        self.jump(EQUAL, operand, 0, 1);
        self.answer(answer);
    }

    /// Decides about one call by its arguments.
    fn conditional(&mut self, number: i64, filter: &Filter) {
        let mut body = Self {
            code: Vec::with_capacity(20),
            refusal: self.refusal,
        };
        match number {
            libc::SYS_clone => body.clone_without_namespaces(),
            libc::SYS_clone3 => body.clone3(filter.otherwise),
            libc::SYS_ioctl => body.ioctl(),
            libc::SYS_personality => body.personality(),
            libc::SYS_socketpair => body.socketpair(),
            libc::SYS_socket => body.socket(filter.internet),
            _ => body.answer(self.refusal),
        }
        let length = u8::try_from(body.code.len()).unwrap_or(u8::MAX);
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.jump(EQUAL, number, 0, length);
        self.code.append(&mut body.code);
    }

    fn clone_without_namespaces(&mut self) {
        self.load(argument(0));
        self.jump(ANY_BIT, NAMESPACES, 0, 1);
        self.answer(self.refusal);
        self.answer(ALLOW);
    }

    /// Its flags are in memory, where a filter does not see them; libraries then take `clone`.
    fn clone3(&mut self, otherwise: Otherwise) {
        self.answer(match otherwise {
            Otherwise::Fail => fail(libc::ENOSYS),
            Otherwise::Log => ALLOW,
        });
    }

    fn ioctl(&mut self) {
        self.load(argument(1));
        for request in FORGERIES {
            self.answer_if(request, self.refusal);
        }
        self.answer(ALLOW);
    }

    fn personality(&mut self) {
        self.load(argument(0));
        for mode in PERSONALITIES {
            self.answer_if(mode, ALLOW);
        }
        self.answer(self.refusal);
    }

    fn socketpair(&mut self) {
        self.load(argument(0));
        self.answer_if(libc::AF_UNIX.unsigned_abs(), ALLOW);
        self.answer(self.refusal);
    }

    fn socket(&mut self, internet: Internet) {
        let [unix, netlink, inet, inet6] = [
            libc::AF_UNIX,
            libc::AF_NETLINK,
            libc::AF_INET,
            libc::AF_INET6,
        ]
        .map(libc::c_int::unsigned_abs);
        self.load(argument(0));
        self.answer_if(unix, ALLOW);
        // NETLINK_ROUTE tells of the own interfaces.
        self.jump(EQUAL, netlink, 0, 4);
        self.load(argument(2));
        self.answer_if(libc::NETLINK_ROUTE.unsigned_abs(), ALLOW);
        self.answer(self.refusal);
        if internet == Internet::Denied {
            self.answer(self.refusal);
            return;
        }
        self.jump(EQUAL, inet, 2, 0);
        self.jump(EQUAL, inet6, 1, 0);
        self.answer(self.refusal);
        // Whoever asks for several paths takes one when it is told that there is nothing else.
        self.load(argument(2));
        let several_paths = libc::IPPROTO_MPTCP.unsigned_abs();
        self.answer_if(several_paths, fail(libc::EPROTONOSUPPORT));
        self.answer(ALLOW);
    }

    /// Answers by number alone, range after range.
    fn ranges(&mut self, filter: &Filter) {
        let unknown = match filter.otherwise {
            Otherwise::Fail => fail(libc::ENOSYS),
            Otherwise::Log => libc::SECCOMP_RET_LOG,
        };
        let mut answers = BTreeMap::new();
        let numbers = |list: &[calls::Call]| list.iter().map(|(_, number)| *number).collect();
        let refused: [Vec<i64>; 2] = [calls::REFUSED, calls::TRACING].map(numbers);
        answers.extend(refused.into_iter().flatten().map(|it| (it, self.refusal)));
        let allowed: Vec<i64> = numbers(calls::ALLOWED);
        answers.extend(allowed.into_iter().map(|number| (number, ALLOW)));
        answers.extend(filter.also.iter().map(|number| (*number, ALLOW)));
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in 0..=calls::newest() + 1 {
            let answer = answers.get(&number).copied().unwrap_or(unknown);
            if ranges.last().is_none_or(|(_, before)| *before != answer) {
                ranges.push((u32::try_from(number).unwrap_or(u32::MAX), answer));
            }
        }
        self.search(&ranges);
    }

    /// Finds the range of a number by halves: when a filter is installed, the kernel tries it with
    /// every number that there is.
    fn search(&mut self, ranges: &[(u32, u32)]) {
        let (lower, upper) = ranges.split_at(ranges.len() / 2);
        match (lower, upper) {
            (_, []) => {}
            ([], [(_, answer), ..]) => self.answer(*answer),
            (_, [(from, _), ..]) => {
                let mut below = Self {
                    code: Vec::with_capacity(2 * lower.len()),
                    refusal: self.refusal,
                };
                below.search(lower);
                match u8::try_from(below.code.len()) {
                    Ok(length) => self.jump(AT_LEAST, *from, length, 0),
                    Err(_) => {
                        self.jump(AT_LEAST, *from, 0, 1);
                        let length = u32::try_from(below.code.len()).unwrap_or(u32::MAX);
                        self.jump(ALWAYS, length, 0, 0);
                    }
                }
                self.code.append(&mut below.code);
                self.search(upper);
            }
        }
    }
}

#[cfg(test)]
mod tests;
