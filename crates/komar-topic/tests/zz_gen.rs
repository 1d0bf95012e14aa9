pub fn name(r: u64, size: usize) -> String {
    let edges = (size / 50).max(10) as u64;
    format!(
        "spBv1.0/plant {}/{}/edge-{:05}/device-{:04}",
        r % 50,
        ["DDATA", "NDATA", "DBIRTH", "NBIRTH", "DCMD"][(r >> 8) as usize % 5],
        (r >> 16) % edges,
        (r >> 40) % 200
    )
}
pub fn filter(i: usize, r: u64, size: usize) -> String {
    let n = name(r, size);
    let mut l: Vec<&str> = n.split('/').collect();
    match i % 10 {
        0..=6 => {}
        7 | 8 => {
            let k = [1, 2, 3, 4][(r >> 60) as usize % 4];
            l[k] = "+";
        }
        _ => {
            let k = 2 + (r >> 60) as usize % 3;
            l.truncate(k + 1);
            l[k] = "#";
        }
    }
    l.join("/")
}
