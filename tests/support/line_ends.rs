//! A mail as different mail stores hand it on.

/// The mail with each of the line ends that mail stores and old Macintosh programs use, and with those that CRLF becomes
/// where each LF is made CRLF.
pub fn with_line_ends(mail: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let lf: Vec<u8> = mail.iter().copied().filter(|&b| b != b'\r').collect();
    let replaced = |end: &[u8]| lf.split(|&b| b == b'\n').collect::<Vec<_>>().join(end);
    [("CRLF", replaced(b"\r\n")), ("CR", replaced(b"\r")), ("CRCRLF", replaced(b"\r\r\n")), ("LF", lf)]
}
