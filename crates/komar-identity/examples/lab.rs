use std::io::{BufRead, Write};
fn main() {
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let der: Vec<u8> = (0..line.len() / 2)
            .map(|i| u8::from_str_radix(&line[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let out = match komar_identity::Certificate::parse(&der) {
            Err(e) => vec![format!("ERR {e:?}")],
            Ok(c) => vec![
                "OK".into(),
                c.subject_rfc2253().unwrap_or_else(|e| format!("E{e:?}")),
                c.subject_rfc4514().unwrap_or_default(),
                c.subject_oneline().unwrap_or_default(),
                c.subject_slash().unwrap_or_default(),
            ],
        };
        println!("{}", out.join("\x1e"));
    }
    std::io::stdout().flush().unwrap();
}
