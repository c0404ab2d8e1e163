//! Answers to commands with a label [IRCv3, labeled-response]. What a client says is answered when it comes back from the
//! room, so an answer may come in parts, with other lines between them.

use cbcast::MessageId;

use super::IrcSession;
use super::state::PendingAnswer;
use crate::irc::capability::Capabilities;
use crate::irc::message::Line;
use crate::irc::render::Rendered;

impl IrcSession {
    /// The command is done: writes its answer, as far as there is one.
    pub fn finish(&mut self) {
        let (replies, said) = (std::mem::take(&mut self.replies), std::mem::take(&mut self.said));
        if let Some(name) = self.batch_begun.take() {
            self.tell_in_batch(&name, replies);
            return self.end_batch(&name);
        }
        let Some(label) = self.label.take() else {
            return replies.iter().for_each(|line| line.encode(&mut self.out));
        };
        let heard = said.iter().filter(|said| said.is_heard).count();
        if said.is_empty() || heard == 0 && !replies.is_empty() {
            return self.answer_at_once(label, replies);
        }
        let mut answer = PendingAnswer { label: Some(label), batch: None, awaited: said.len() };
        if replies.len() + heard > 1 && self.has(Capabilities::BATCH) {
            answer.batch = answer.label.take().map(|label| self.begin_batch(&label));
        }
        for line in replies {
            let line = self.labelled(&mut answer, line);
            line.encode(&mut self.out);
        }
        self.answers_begun += 1;
        let number = self.answers_begun;
        self.labels.extend(said.into_iter().map(|said| ((said.room, said.id), number)));
        self.answers.insert(number, answer);
    }

    /// A piece of the answer can be written, and there is more: a label is on the batch that all of it is in.
    pub(super) fn tell_piece(&mut self) {
        let mut replies = std::mem::take(&mut self.replies);
        if let Some(label) = self.label.take() {
            if self.has(Capabilities::BATCH) {
                self.batch_begun = Some(self.begin_batch(&label));
            } else if let Some(first) = replies.first_mut() {
                *first = first.clone().tag("label", &label);
            }
        }
        match self.batch_begun.clone() {
            Some(name) => self.tell_in_batch(&name, replies),
            None => replies.iter().for_each(|line| line.encode(&mut self.out)),
        }
    }

    fn tell_in_batch(&mut self, name: &str, replies: Vec<Line>) {
        for line in replies {
            if line.is_in_batch() { line } else { line.tag("batch", name) }.encode(&mut self.out);
        }
    }

    fn answer_at_once(&mut self, label: String, replies: Vec<Line>) {
        match &replies[..] {
            [] => self.acknowledge(&label),
            [line] => line.clone().tag("label", &label).encode(&mut self.out),
            [first, .., last] if last.ends_batch_of(first) || !self.has(Capabilities::BATCH) => {
                first.clone().tag("label", &label).encode(&mut self.out);
                replies[1..].iter().for_each(|line| line.encode(&mut self.out));
            }
            _ => {
                let name = self.begin_batch(&label);
                self.tell_in_batch(&name, replies);
                self.end_batch(&name);
            }
        }
    }

    /// Something that was said has come back, as these lines: they are a part of an answer, if it had a label.
    pub(super) fn tell(&mut self, is_own: bool, room: u64, id: MessageId, rendered: Rendered) {
        match is_own.then(|| self.labels.remove(&(room, id))).flatten() {
            Some(number) => self.go_on_answering(number, rendered),
            None => rendered.lines.iter().for_each(|line| line.encode(&mut self.out)),
        }
    }

    /// Gives up what was said in a room of which nothing more comes back.
    pub(super) fn forget_said_in(&mut self, room: u64) {
        let gone: Vec<_> = self.labels.keys().filter(|(of, _)| *of == room).copied().collect();
        for key in gone {
            let number = self.labels.remove(&key).expect("it was just there");
            self.go_on_answering(number, Rendered::default());
        }
    }

    fn go_on_answering(&mut self, number: u64, rendered: Rendered) {
        let Some(mut answer) = self.answers.remove(&number) else { return };
        answer.awaited -= 1;
        if rendered.lines.len() > 1
            && !rendered.batched
            && answer.batch.is_none()
            && self.has(Capabilities::BATCH)
        {
            // One message in several lines.
            answer.batch = answer.label.take().map(|label| self.begin_batch(&label));
        }
        let batch = answer.batch.clone();
        for line in rendered.within(batch.as_deref()) {
            let line = match answer.label.take() {
                Some(label) => line.tag("label", &label),
                None => line,
            };
            line.encode(&mut self.out);
        }
        if answer.awaited > 0 {
            self.answers.insert(number, answer);
        } else if let Some(name) = &answer.batch {
            self.end_batch(name);
        } else if let Some(label) = &answer.label {
            self.acknowledge(label);
        }
    }

    /// A line that is a part of an answer.
    fn labelled(&self, answer: &mut PendingAnswer, line: Line) -> Line {
        match (&answer.batch, answer.label.take()) {
            (Some(batch), _) if !line.is_in_batch() => line.tag("batch", batch),
            (_, Some(label)) => line.tag("label", &label),
            _ => line,
        }
    }

    fn acknowledge(&mut self, label: &str) {
        Line::new(&self.about.server, "ACK").tag("label", label).encode(&mut self.out);
    }

    fn begin_batch(&mut self, label: &str) -> String {
        let name = self.batch();
        let start = Line::new(&self.about.server, "BATCH").param(&format!("+{name}"));
        start.param("labeled-response").tag("label", label).encode(&mut self.out);
        name
    }

    fn end_batch(&mut self, name: &str) {
        Line::new(&self.about.server, "BATCH").param(&format!("-{name}")).encode(&mut self.out);
    }
}
