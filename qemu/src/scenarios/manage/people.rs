//! Whoever looks at the node: a plain HTTP client, one request a connection.

use super::super::world;
use crate::{Context, Failure, Machine, OrFail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Whoever looks at the node.
pub(super) struct People {
    /// Where the node's page is.
    pub(super) address: SocketAddr,
}

/// An answer: its head and its body.
pub(super) struct Answer {
    head: String,
    body: String,
}

impl Answer {
    /// Its body, if its status is `status`.
    pub(super) fn is(self, status: &str) -> Result<String, Failure> {
        if self.head.split(' ').nth(1) == Some(status) {
            return Ok(self.body);
        }
        Err(Failure::new(format!(
            "{status} is expected and the answer is {:?}",
            self.head.lines().next()
        )))
    }
}

impl People {
    /// Those of this machine, to whom `port` of the loopback is the node's page.
    pub(super) fn behind(port: u16) -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, port).into(),
        }
    }

    /// Neighbours of the node, which is at `address`.
    pub(super) fn at(address: &str) -> Result<Self, Failure> {
        let address: Ipv4Addr = address.parse().or_fail(address)?;
        Ok(Self {
            address: (address, 80).into(),
        })
    }

    pub(super) fn connect(&self) -> Result<TcpStream, Failure> {
        let address = self.address;
        let patience = Duration::from_secs(5);
        let stream = TcpStream::connect_timeout(&address, patience).or_fail(address)?;
        stream.set_read_timeout(Some(patience)).or_fail(address)?;
        Ok(stream)
    }

    pub(super) fn ask(&self, request: &str) -> Result<Answer, Failure> {
        let mut stream = self.connect()?;
        let mut answer = String::new();
        stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.read_to_string(&mut answer))
            .or_fail(format_args!("{:?}", request.lines().next()))?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .or_fail(format_args!("{:?}: no head", request.lines().next()))?;
        Ok(Answer {
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    pub(super) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.ask(&format!("GET {path} HTTP/1.0\r\nHost: node\r\n\r\n"))
    }

    pub(super) fn post(&self, path: &str, token: Option<&str>) -> Result<Answer, Failure> {
        let token = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        self.ask(&format!(
            "POST {path} HTTP/1.0\r\nHost: node\r\n{token}Content-Length: 0\r\n\r\n"
        ))
    }

    pub(super) fn status(&self) -> Result<Value, Failure> {
        parse(&self.get("/api/v1/status")?.is("200")?)
    }

    /// What is at `path`, however often the connection is refused: a person beside a
    /// crowd tries again.
    pub(super) fn insist(
        &self,
        context: &Context,
        node: &Machine,
        path: &str,
    ) -> Result<String, Failure> {
        let mut body = Err(Failure::new("nobody asked"));
        let _ = world::until(context.seconds(30), node, String::new, || {
            body = self.get(path).and_then(|answer| answer.is("200"));
            body.is_ok()
        });
        body.map_err(world::blame(node))
    }

    /// Waits until the node has an address and answers.
    pub(super) fn wait(&self, context: &Context, node: &Machine) -> Result<(), Failure> {
        world::until(
            context.seconds(20),
            node,
            || "the management plane does not answer".to_owned(),
            || self.get("/healthz").is_ok(),
        )
    }
}

pub(super) fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).or_fail(format_args!("no JSON: {text:?}"))
}
