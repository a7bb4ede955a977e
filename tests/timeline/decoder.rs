//! Reads a trace of Perfetto, as far as the tests need it.

use std::collections::HashMap;

/// The value of a field.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Splits a message into its fields. Panics unless the bytes are one.
fn fields(mut bytes: &[u8]) -> Vec<(u32, Value<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (first, rest) = bytes.split_first().expect("a number is cut off");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut bytes)),
            1 => {
                let (eight, rest) = bytes.split_first_chunk::<8>().expect("a number is cut off");
                bytes = rest;
                Value::Number(u64::from_le_bytes(*eight))
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (inside, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(inside)
            }
            wire => panic!("there is no type {wire}"),
        };
        out.push(((tag >> 3) as u32, value));
    }
    out
}

/// The fields of a message by their numbers.
struct Message<'a>(Vec<(u32, Value<'a>)>);

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        Self(fields(bytes))
    }

    fn numbers(&self, field: u32) -> Vec<u64> {
        let number = |(of, value): &(u32, Value<'_>)| match value {
            Value::Number(value) if *of == field => Some(*value),
            _ => None,
        };
        self.0.iter().filter_map(number).collect()
    }

    fn number(&self, field: u32) -> Option<u64> {
        self.numbers(field).first().copied()
    }

    fn messages(&self, field: u32) -> Vec<&'a [u8]> {
        let bytes = |(of, value): &(u32, Value<'a>)| match value {
            Value::Bytes(bytes) if *of == field => Some(*bytes),
            _ => None,
        };
        self.0.iter().filter_map(bytes).collect()
    }

    fn text(&self, field: u32) -> Option<String> {
        let bytes = self.messages(field).first()?.to_vec();
        Some(String::from_utf8(bytes).expect("text is UTF-8"))
    }
}

/// A slice.
#[derive(Clone, Debug)]
pub struct Slice {
    pub track: u64,
    pub name: String,
    pub from: u64,
    pub to: u64,
    pub flows: Vec<u64>,
    pub last_of_flows: Vec<u64>,
    says: HashMap<String, String>,
    counts: HashMap<String, u64>,
}

impl Slice {
    #[track_caller]
    pub fn says(&self, name: &str) -> &str {
        &self.says[name]
    }

    pub fn has(&self, name: &str) -> bool {
        self.says.contains_key(name)
    }

    #[track_caller]
    pub fn counts(&self, name: &str) -> u64 {
        self.counts[name]
    }
}

#[derive(Debug)]
struct Track {
    name: String,
    parent: Option<u64>,
}

/// A whole trace.
#[derive(Debug, Default)]
pub struct Trace {
    tracks: HashMap<u64, Track>,
    pub slices: Vec<Slice>,
    counters: HashMap<u64, Vec<(u64, u64)>>,
}

impl Trace {
    /// Reads a file.
    pub fn read(file: &[u8]) -> Self {
        let mut trace = Self::default();
        let mut open: HashMap<u64, Slice> = HashMap::new();
        for (index, packet) in Message::read(file).messages(1).into_iter().enumerate() {
            let packet = Message::read(packet);
            assert_eq!(packet.number(10), Some(1), "each packet is of the one sequence");
            assert_eq!(packet.number(13), (index == 0).then_some(1), "the first clears the state");
            for descriptor in packet.messages(60) {
                let descriptor = Message::read(descriptor);
                let name = descriptor.text(2).unwrap();
                let track = Track { name, parent: descriptor.number(5) };
                assert!(trace.tracks.insert(descriptor.number(1).unwrap(), track).is_none());
            }
            for event in packet.messages(11) {
                let at = packet.number(8).expect("an event has a time");
                trace.event(at, &Message::read(event), &mut open);
            }
        }
        assert!(open.is_empty(), "slices without an end: {open:?}");
        for track in trace.tracks.values() {
            assert!(track.parent.is_none_or(|parent| trace.tracks.contains_key(&parent)));
        }
        trace
    }

    fn event(&mut self, at: u64, event: &Message<'_>, open: &mut HashMap<u64, Slice>) {
        let track = event.number(11).expect("an event has a track");
        assert!(self.tracks.contains_key(&track), "a track is described before its events");
        match event.number(9) {
            Some(1) => {
                let (mut says, mut counts) = (HashMap::new(), HashMap::new());
                for note in event.messages(4) {
                    let note = Message::read(note);
                    let name = note.text(10).unwrap();
                    match note.number(3) {
                        Some(count) => _ = counts.insert(name, count),
                        None => _ = says.insert(name, note.text(6).unwrap()),
                    }
                }
                let (name, from) = (event.text(23).unwrap(), at);
                let (flows, last_of_flows) = (event.numbers(47), event.numbers(48));
                let slice =
                    Slice { track, name, from, to: from, flows, last_of_flows, says, counts };
                assert!(open.insert(track, slice).is_none(), "slices of a track overlap");
            }
            Some(2) => {
                let slice = open.remove(&track).expect("a slice ends that has begun");
                self.slices.push(Slice { to: at, ..slice });
            }
            Some(4) => {
                let values = self.counters.entry(track).or_default();
                assert!(values.last().is_none_or(|(last, _)| *last <= at), "time goes back");
                values.push((at, event.number(30).unwrap()));
            }
            other => panic!("there is no such event: {other:?}"),
        }
    }

    fn named(&self, name: &str) -> impl Fn(u64) -> bool + '_ {
        let name = name.to_owned();
        move |track| self.tracks[&track].name == name
    }

    fn parent_of(&self, track: u64) -> Option<u64> {
        self.tracks[&track].parent
    }

    /// The slices of the tracks below one.
    pub fn of(&self, name: &str) -> Vec<&Slice> {
        let named = self.named(name);
        let below = |slice: &&Slice| self.parent_of(slice.track).is_some_and(&named);
        self.slices.iter().filter(below).collect()
    }

    /// The slices of a track itself.
    pub fn own(&self, name: &str) -> Vec<&Slice> {
        let named = self.named(name);
        self.slices.iter().filter(|slice| named(slice.track)).collect()
    }

    /// The slice of a task by the task's number among those of the job, which begins at 1.
    #[track_caller]
    pub fn slice(&self, job: &str, number: usize, name: &str) -> &Slice {
        let slices = self.of(job);
        let mut tasks: Vec<_> = slices.iter().map(|slice| slice.counts("task")).collect();
        tasks.sort_unstable();
        tasks.dedup();
        let task = tasks[number - 1];
        let is = |slice: &&Slice| slice.counts("task") == task && slice.name == name;
        let found = slices.iter().copied().find(is);
        found.unwrap_or_else(|| panic!("task {number} of {job} is never {name}: {slices:#?}"))
    }

    /// The names of all tracks.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tracks.values().map(|track| track.name.as_str())
    }

    /// The name of the track above one.
    pub fn parent(&self, name: &str) -> &str {
        let track = self.tracks.values().find(|track| track.name == name).unwrap();
        &self.tracks[&track.parent.unwrap()].name
    }

    fn figures(&self, job: &str, name: &str) -> Vec<u64> {
        let named = self.named(job);
        let is = |track: &u64| {
            self.tracks[track].name == name && self.parent_of(*track).is_some_and(&named)
        };
        let tracks: Vec<_> = self.counters.keys().copied().filter(is).collect();
        assert!(tracks.len() <= 1, "one counter of a name");
        let values = tracks.first().map(|track| &self.counters[track]);
        values.map_or(Vec::new(), |values| values.iter().map(|(_, value)| *value).collect())
    }

    /// The greatest value of a job's counter.
    pub fn most(&self, job: &str, name: &str) -> u64 {
        self.figures(job, name).into_iter().max().unwrap()
    }

    /// The last value of a job's counter.
    pub fn last(&self, job: &str, name: &str) -> u64 {
        *self.figures(job, name).last().unwrap()
    }

    /// Each value of a job's counter.
    pub fn each(&self, job: &str, name: &str) -> Vec<u64> {
        self.figures(job, name)
    }
}
