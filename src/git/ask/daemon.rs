//! git://, in process: a connection for each question, for `git daemon` serves one request on each.

use super::address::{BadAddress, GitAddress};
use super::asked::Asked;
use super::reply::{Digest, Limits, Missed, Reply};
use super::resolve::resolve;
use super::stream::{Memory, Trouble, converse};
use crate::git::list::ListError;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Asks a git:// remote for its branches and tags. `known` is the digest of the last answer.
pub async fn ask(remote: &str, memory: &mut Memory, known: Option<Digest>, limits: &Limits) -> Result<Reply, Missed> {
    let asked = Asked::new(remote);
    let address = GitAddress::parse(asked.url()).map_err(|odd: BadAddress| Missed::Unable(odd.to_string()))?;
    let question = Question {
        asked: &asked,
        address: &address,
        known,
        limits,
    };
    match timeout(limits.whole, question.ask(memory)).await {
        Ok(answer) => answer.map_err(Missed::Error),
        Err(_) => Err(asked.timed_out(limits.whole).into()),
    }
}

struct Question<'a> {
    asked: &'a Asked,
    address: &'a GitAddress,
    known: Option<Digest>,
    limits: &'a Limits,
}

impl Question<'_> {
    async fn ask(&self, memory: &mut Memory) -> Result<Reply, ListError> {
        if !memory.is_empty() {
            match self.once(*memory).await? {
                Err(trouble) if trouble.may_be_a_changed_server() => *memory = Memory::default(),
                answer => return self.take(answer, memory),
            }
        }
        let answer = self.once(*memory).await?;
        self.take(answer, memory)
    }

    fn take(&self, answer: Result<(Reply, Memory), Trouble>, memory: &mut Memory) -> Result<Reply, ListError> {
        let (reply, learned) = answer.map_err(|trouble| self.asked.failed(&trouble))?;
        *memory = learned;
        Ok(reply)
    }

    /// One connection. The outer error is about reaching the server.
    async fn once(&self, memory: Memory) -> Result<Result<(Reply, Memory), Trouble>, ListError> {
        let mut stream = self.connect().await?;
        Ok(converse(&mut stream, &greeting(self.address), memory, self.known, self.limits).await)
    }

    async fn connect(&self) -> Result<TcpStream, ListError> {
        let deadline = Instant::now() + self.limits.connect;
        let late = || self.asked.timed_out(self.limits.connect);
        let found = timeout(self.limits.connect, resolve(&self.address.host, self.address.port));
        let addresses = found
            .await
            .map_err(|_| late())?
            .map_err(|error| self.asked.unreachable(&error))?;
        let mut last = late();
        for (index, address) in addresses.iter().enumerate() {
            // A fair share of what is left, or a first address that is a black hole would be the last.
            let waiting = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / waiting;
            match connect_to(*address, share).await {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => last = self.asked.unreachable(&error),
                None => last = late(),
            }
        }
        Err(last)
    }
}

/// None if it takes too long.
async fn connect_to(address: SocketAddr, limit: Duration) -> Option<std::io::Result<TcpStream>> {
    let stream = timeout(limit, TcpStream::connect(address)).await.ok()?;
    // Nagle and delayed acknowledgements would wait for each other.
    Some(stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)))
}

/// The request that `git daemon` waits for (gitprotocol-pack(5), "Git Transport").
fn greeting(address: &GitAddress) -> Vec<u8> {
    let line = [
        b"git-upload-pack ",
        address.path.as_slice(),
        b"\0host=",
        address.written.as_bytes(),
        b"\0\0version=2\0",
    ]
    .concat();
    [format!("{:04x}", line.len() + 4).into_bytes(), line].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_is_git_s() {
        let address = GitAddress::parse("git://h:1/~u/x").unwrap();
        assert_eq!(greeting(&address), b"002dgit-upload-pack ~u/x\0host=h:1\0\0version=2\0");
    }
}
