//! Queries of other classes: `version.bind`, `version.server` and `id.server` in class CHAOS (RFC 4892), where they are
//! configured; everything else is refused.

use super::{Asker, Outcome, Refusal, Shard};
use crate::telemetry::log::{self, Policy};
use crate::wire::message::{Query, Rcode, Section, flags};
use crate::wire::rdata::{CLASS_CHAOS, rtype};
use crate::wire::writer::{QUESTION_NAME, Writer};

impl Shard {
    pub(super) fn answer_chaos(
        &mut self,
        query: &Query<'_>,
        asker: Asker,
        reply: &mut [u8],
    ) -> Result<Outcome, Refusal> {
        let Shard { images, compressor, counters, note, name, .. } = self;
        let text = match name.as_wire() {
            b"\x02id\x06server\0" => &images.identity,
            b"\x07version\x04bind\0" | b"\x07version\x06server\0" => &images.version,
            _ => &[][..].into(),
        };
        let is_text = matches!(query.qtype, rtype::TXT | rtype::ANY);
        if query.qclass != CLASS_CHAOS || text.is_empty() || !is_text {
            return Err(Refusal::prohibited(Policy::Type, |c| &mut c.refused_class));
        }
        let limit = asker.limit.into();
        let mut writer =
            Writer::new(reply, limit, query.question, asker.opt(images, None), compressor, images.hash_key);
        writer.set_class(CLASS_CHAOS);
        let data = [&[text.len() as u8], &**text].concat();
        writer
            .rrset(Section::Answer, QUESTION_NAME, rtype::TXT, 0, [&data[..]].into_iter())
            .expect("the texts fit the shortest reply");
        note.is(log::Outcome::Local);
        note.replied(counters, Rcode::NoError as u16, false);
        Ok(Outcome::Reply(writer.finish(asker.id, asker.flags | flags::QR | flags::AA, Rcode::NoError)))
    }
}
