//! What an HTTP client asked: bytes in, a request or what is wrong with them out.
//!
//! Pure, and httparse does the grammar. One request a connection, so nothing that
//! follows it is ever looked at.

use core::str;

/// Headers that are looked at. A browser sends about fifteen.
const HEADERS_MAX: usize = 32;

/// What the client wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// To see something.
    Get,
    /// To see whether there is something.
    Head,
    /// To have something done.
    Post,
    /// To change something.
    Put,
    /// Something we do not know.
    Other,
}

/// A whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is to be done.
    pub method: Method,
    /// With what, without the part behind the question mark.
    pub path: &'a str,
    /// That part.
    pub query: &'a str,
    /// What was said to be allowed to.
    pub token: Option<&'a [u8]>,
    /// What came with it.
    pub body: &'a [u8],
    /// Whether the client takes an answer in chunks (HTTP/1.1).
    pub takes_chunks: bool,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Its end is not there yet.
    Partial,
    /// It is whole.
    Whole(Request<'a>),
    /// It can not be understood.
    Bad,
    /// Its head is longer than we take.
    TooLong,
    /// What comes with it is more than we take.
    TooMuch,
}

/// Reads what has arrived so far; `capacity` is the most that ever can.
#[cold]
#[inline(never)]
pub fn parse(bytes: &[u8], capacity: usize) -> Parsed<'_> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let head_len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < capacity => return Parsed::Partial,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Parsed::TooLong;
        }
        Err(_) => return Parsed::Bad,
    };
    let mut token = None;
    let mut body_len = 0;
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("authorization") {
            token = header.value.strip_prefix(b"Bearer ");
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            // Nobody needs it for so little, and it hides a request's end.
            return Parsed::Bad;
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let is_number = !header.value.is_empty() && header.value.iter().all(u8::is_ascii_digit);
            let text = str::from_utf8(header.value).unwrap_or("");
            match text.parse::<usize>() {
                Ok(len) if is_number => body_len = len,
                _ => return Parsed::Bad,
            }
        }
    }
    let end = match head_len.checked_add(body_len) {
        Some(end) if end <= capacity => end,
        _ => return Parsed::TooMuch,
    };
    let Some(body) = bytes.get(head_len..end) else {
        return Parsed::Partial;
    };
    let target = head.path.unwrap_or("/");
    let target = target.split('#').next().unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        Some("PUT") => Method::Put,
        _ => Method::Other,
    };
    Parsed::Whole(Request {
        method,
        path,
        query,
        token,
        body,
        takes_chunks: head.version == Some(1),
    })
}

/// Whether two secrets are the same. How long it takes does not depend on where
/// they differ.
pub fn is_same_secret(ours: &[u8], theirs: &[u8]) -> bool {
    let mut difference = ours.len() ^ theirs.len();
    for (index, byte) in theirs.iter().enumerate() {
        let own = ours.get(index).copied().unwrap_or(0);
        difference |= usize::from(own ^ byte);
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 4096;

    fn whole(text: &str) -> Request<'_> {
        match parse(text.as_bytes(), CAPACITY) {
            Parsed::Whole(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_beginning_of_a_request_waits_for_the_rest() {
        let text = "PUT /api/v1/config?x=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\nContent-Length: 5\r\n\r\nhello";
        for len in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..len], CAPACITY), Parsed::Partial);
        }
        let request = whole(text);
        assert_eq!(request.method, Method::Put);
        assert_eq!((request.path, request.query), ("/api/v1/config", "x=1"));
        assert_eq!(request.token, Some(&b"secret"[..]));
        assert_eq!(request.body, b"hello");
        assert!(request.takes_chunks);
        assert!(!whole("GET / HTTP/1.0\r\n\r\n").takes_chunks);
    }

    #[test]
    fn what_never_ends_or_is_nonsense_is_refused() {
        let long = [b'a'; CAPACITY];
        assert_ne!(parse(&long, CAPACITY), Parsed::Partial);
        let mut many = alloc::string::String::from("GET / HTTP/1.1\r\n");
        for _ in 0..=HEADERS_MAX {
            many.push_str("a: b\r\n");
        }
        assert_eq!(parse(many.as_bytes(), CAPACITY), Parsed::TooLong);
        for bad in [
            "\u{1}\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: \r\n\r\n",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(parse(bad.as_bytes(), CAPACITY), Parsed::Bad, "{bad}");
        }
        for long in ["4096", "18446744073709551615"] {
            let text = alloc::format!("PUT / HTTP/1.1\r\nContent-Length: {long}\r\n\r\n");
            assert_eq!(parse(text.as_bytes(), CAPACITY), Parsed::TooMuch);
        }
    }

    #[test]
    fn no_bytes_at_all_make_it_panic() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let good = b"GET /metrics HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer x\r\nContent-Length: 3\r\n\r\nabc";
        for _ in 0..200_000 {
            let mut bytes = *good;
            for _ in 0..4 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                bytes[(seed >> 8) as usize % good.len()] = seed as u8;
            }
            let _ = parse(&bytes[..(seed >> 40) as usize % good.len()], good.len());
            let _ = parse(&bytes, good.len());
        }
    }

    #[test]
    fn only_the_whole_secret_is_the_secret() {
        assert!(is_same_secret(b"secret", b"secret"));
        for wrong in ["", "s", "secre", "secrett", "Secret", "secret\0"] {
            assert!(!is_same_secret(b"secret", wrong.as_bytes()), "{wrong}");
        }
    }
}
