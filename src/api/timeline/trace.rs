//! Writes a picture in the format of Perfetto: a file of trace packets, encoded as protocol buffers.
//!
//! The numbers of the fields are those of Perfetto's `trace_packet.proto`, `track_event.proto`, `track_descriptor.proto`,
//! `counter_descriptor.proto` and `debug_annotation.proto`. Perfetto never changes these numbers, so that old traces stay
//! readable.

use crate::api::timeline::picture::{Picture, Slice};
use std::io::{self, Write};

/// `TracePacket.timestamp`
const TIMESTAMP: u32 = 8;
/// `TracePacket.trusted_packet_sequence_id`
const SEQUENCE: u32 = 10;
/// `TracePacket.track_event`
const TRACK_EVENT: u32 = 11;
/// `TracePacket.sequence_flags`
const SEQUENCE_FLAGS: u32 = 13;
/// `TracePacket.track_descriptor`
const TRACK_DESCRIPTOR: u32 = 60;

/// `TrackEvent.type`, and its values.
const TYPE: u32 = 9;
const SLICE_BEGIN: u64 = 1;
const SLICE_END: u64 = 2;
const COUNTER: u64 = 4;
/// `TrackEvent.debug_annotations`
const ANNOTATIONS: u32 = 4;
/// `TrackEvent.track_uuid`
const TRACK: u32 = 11;
/// `TrackEvent.categories`
const CATEGORIES: u32 = 22;
/// `TrackEvent.name`
const NAME: u32 = 23;
/// `TrackEvent.counter_value`
const VALUE: u32 = 30;
/// `TrackEvent.flow_ids`
const FLOWS: u32 = 47;
/// `TrackEvent.terminating_flow_ids`
const LAST_OF_FLOWS: u32 = 48;

/// A protocol buffer message that is being encoded.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    /// Adds a field with an integer of variable length.
    fn number(mut self, field: u32, value: u64) -> Self {
        self.tag(field, 0);
        self.varint(value);
        self
    }

    /// Adds a field with a number of eight bytes.
    fn fixed(mut self, field: u32, value: u64) -> Self {
        self.tag(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u32, message: Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// Adds an annotation with a text to a track event.
    fn says(self, name: &str, text: &str) -> Self {
        if text.is_empty() {
            return self;
        }
        self.message(ANNOTATIONS, Self::default().text(10, name).text(6, text))
    }

    /// Adds an annotation with a number to a track event.
    fn counts(self, name: &str, number: Option<u64>) -> Self {
        let Some(number) = number else { return self };
        self.message(ANNOTATIONS, Self::default().text(10, name).number(3, number))
    }
}

/// The kinds of tracks. Each kind uses track numbers that no other kind uses.
#[derive(Clone, Copy)]
enum Kind {
    Job = 1,
    Lane,
    Figure,
    Worker,
}

fn uuid(kind: Kind, number: u64) -> u64 {
    (kind as u64) << 48 | number
}

/// Writes a picture of the timeline as a trace for Perfetto.
pub fn write(picture: &Picture, out: impl Write) -> io::Result<()> {
    let mut file = File { out, lanes: 0, is_first: true };
    for (seat, parked) in picture.workers.iter().enumerate() {
        let track = uuid(Kind::Worker, seat as u64);
        file.track(track, None, &format!("worker {seat}"), false)?;
        file.slices(track, parked)?;
    }
    for row in &picture.rows {
        let job = uuid(Kind::Job, row.track.into());
        let parent = (row.parent > 0).then(|| uuid(Kind::Job, row.parent.into()));
        file.track(job, parent, &row.name, false)?;
        for (number, name) in ["running", "limit", "backlog"].into_iter().enumerate() {
            let track = uuid(Kind::Figure, u64::from(row.track) * 3 + number as u64);
            file.track(track, Some(job), name, true)?;
            let mut last = None;
            for figures in &row.figures {
                // While the job has no limit, the track of the limit gets no value.
                let value = [Some(figures.running), figures.limit, Some(figures.backlog)][number];
                if value.is_some() && value != last {
                    file.figure(track, figures.at, value.unwrap_or_default().into())?;
                }
                last = value;
            }
        }
        for lane in &row.lanes {
            file.lanes += 1;
            let track = uuid(Kind::Lane, file.lanes);
            // All lanes have the same name, so Perfetto shows them as one track.
            file.track(track, Some(job), "tasks", false)?;
            file.slices(track, lane)?;
        }
    }
    file.out.flush()
}

struct File<W> {
    out: W,
    lanes: u64,
    is_first: bool,
}

impl<W: Write> File<W> {
    fn packet(&mut self, packet: Message) -> io::Result<()> {
        let mut packet = packet.number(SEQUENCE, 1);
        if std::mem::take(&mut self.is_first) {
            // The flag of the first packet says that a sequence of packets begins.
            packet = packet.number(SEQUENCE_FLAGS, 1);
        }
        // `Trace.packet`
        self.out.write_all(&Message::default().message(1, packet).0)
    }

    /// Writes the descriptor of a track.
    fn track(
        &mut self,
        track: u64,
        parent: Option<u64>,
        name: &str,
        counts: bool,
    ) -> io::Result<()> {
        let mut descriptor = Message::default().number(1, track).text(2, name);
        if let Some(parent) = parent {
            descriptor = descriptor.number(5, parent);
        }
        if counts {
            // `CounterDescriptor.unit` is `UNIT_COUNT`.
            descriptor = descriptor.message(8, Message::default().number(3, 2));
        }
        self.packet(Message::default().message(TRACK_DESCRIPTOR, descriptor))
    }

    fn event(&mut self, at: u64, event: Message) -> io::Result<()> {
        self.packet(Message::default().number(TIMESTAMP, at).message(TRACK_EVENT, event))
    }

    fn figure(&mut self, track: u64, at: u64, value: u64) -> io::Result<()> {
        let event = Message::default().number(TYPE, COUNTER).number(TRACK, track);
        self.event(at, event.number(VALUE, value))
    }

    /// Writes slices that do not overlap.
    fn slices(&mut self, track: u64, slices: &[Slice]) -> io::Result<()> {
        for slice in slices {
            let mut begin = Message::default()
                .number(TYPE, SLICE_BEGIN)
                .number(TRACK, track)
                .text(CATEGORIES, "tollgate")
                .text(NAME, slice.what.word())
                .counts("task", Some(slice.task).filter(|task| *task > 0))
                .counts("worker", slice.worker.map(u64::from))
                .counts("waited_ns", slice.waited)
                .says("name", slice.name.as_deref().unwrap_or_default())
                .says("why", &slice.why);
            for flow in &slice.flows_out {
                begin = begin.fixed(FLOWS, *flow);
            }
            if let Some(flow) = slice.flow_in {
                begin = begin.fixed(LAST_OF_FLOWS, flow);
            }
            self.event(slice.from, begin)?;
            let end = Message::default().number(TYPE, SLICE_END).number(TRACK, track);
            self.event(slice.to, end)?;
        }
        Ok(())
    }
}
