//! What ordinary programs do, done in a sandbox.

use claw_core::ExitStatus;

use super::{confined, run, whole};
use crate::world::World;

const PYTHON: &str = r#"
import asyncio, multiprocessing, os, socket, sqlite3, ssl, subprocess, sys, tempfile, threading, venv

async def talk():
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    process = await asyncio.create_subprocess_exec("sh", "-c", "exit 3")
    assert await process.wait() == 3

def square(number):
    return number * number

if __name__ == "__main__":
    asyncio.run(talk())
    with multiprocessing.Pool(2) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
    seen = []
    threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(20)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(seen) == 20
    ssl.create_default_context()
    assert os.cpu_count() >= 1
    assert os.path.expanduser("~") == "/tmp/home"
    with tempfile.TemporaryDirectory() as folder:
        sqlite3.connect(folder + "/db").execute("create table t (x)")
        venv.create(folder + "/venv", with_pip=False)
        subprocess.run([folder + "/venv/bin/python", "-c", "import json"], check=True)
    assert subprocess.run(["ps", "ax"], capture_output=True, check=False).returncode in (0, 1)
    print("fine")
"#;

const NODE: &str = r#"
const { Worker } = require('worker_threads');
const http = require('http');
const os = require('os');
os.networkInterfaces();
if (os.cpus().length < 1) process.exit(4);
const server = http.createServer((_, answer) => answer.end('hello'));
server.listen(0, '127.0.0.1', async () => {
  const reply = await fetch(`http://127.0.0.1:${server.address().port}/`);
  if (await reply.text() !== 'hello') process.exit(5);
  const worker = new Worker('require("worker_threads").parentPort.postMessage(7)', { eval: true });
  worker.on('message', (seven) => { console.log(seven === 7 ? 'fine' : 'bad'); server.close(); process.exit(0); });
});
"#;

const GIT: &str = "cd /tmp && git init -q r && cd r && git config user.email a@b && \
    git config user.name a && echo x > f && git add f && git commit -qm one && \
    git clone -q . ../s && git -C ../s log --oneline | wc -l && echo fine";

const SHELL: &str = "seq 1 1000 | sort -rn | head -n 3 | tr '\\n' ' ' | grep -q '1000 999 998' && \
    cat <<X | tee /tmp/t | wc -l && find /usr/bin -name env | xargs ls > /dev/null && \
    (sleep 0.01 & wait) && echo out > /dev/stdout && date > /dev/null && tar cf - /tmp/t 2>/dev/null | tar tf - && echo fine
a
b
X";

const COMPILER: &str = "cd /tmp && echo 'int main(void) { return 7; }' > a.c && gcc a.c -o a; \
    ./a; [ $? = 7 ] && echo fine";

async fn works(test: &str, program: &str, command: &[&str]) {
    if whole(test).is_none() {
        return;
    }
    let found = ["/usr/bin", "/usr/local/bin"]
        .iter()
        .any(|dir| std::path::Path::new(dir).join(program).exists());
    if !found {
        eprintln!("SKIP {test}: there is no {program}");
        return;
    }
    let mut world = World::new().await;
    let mut spec = confined(&world, command, |_| {});
    // Of the one who runs the tests.
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    spec.launch.env.insert("PATH".to_owned(), path);
    let (status, text, _) = run(&mut world, spec).await;
    assert_eq!(status, ExitStatus::Code(0), "{text}");
    assert_eq!(text.lines().last(), Some("fine"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_works() {
    works("python_works", "python3", &["python3", "-c", PYTHON]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_works() {
    works("node_works", "node", &["node", "-e", NODE]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_works() {
    works("git_works", "git", &["/bin/sh", "-c", GIT]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shells_work() {
    works("shells_work", "sh", &["/bin/sh", "-c", SHELL]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compilers_work() {
    works("compilers_work", "gcc", &["/bin/sh", "-c", COMPILER]).await;
}
