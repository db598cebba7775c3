//! The chat of `examples/`: whatever one member sends, in whatever pieces, the others receive what the rules
//! say, and each other's lines.
//!
//! What they should receive is computed here again, from the whole text.

use std::time::Duration;

use ringback::{
    Options,
    sim::{Host, World},
};

use crate::network::{Ending, Received, Script};

#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)]
#[path = "../../../examples/chat.rs"]
mod chat_server;

const PORT: u16 = 7;
/// A longer line is cut.
const LINE_MAX: usize = 2048;
/// The lines of the well-behaved member.
const LINES: usize = 20;
/// With names of twenty letters and lines of one, the others receive twelve times as much. That is less than
/// the server queues before it drops them.
const TEXT_MAX: usize = 16 << 10;
/// A member with more than this to read at once may be dropped: half of the server's limit.
const UNREAD_MAX: usize = 128 << 10;
/// How long it takes until everything was read.
const SETTLING: Duration = Duration::from_secs(5);

/// A line that all others receive, and the sender's name after it.
#[derive(Debug)]
struct Relayed {
    line: String,
    nick: String,
}

/// What a member's text leads to.
struct Talk {
    relayed: Vec<Relayed>,
    /// The lines that the member itself receives in reply.
    replies: Vec<String>,
    has_quit: bool,
}

impl Talk {
    fn may_be_dropped(&self) -> bool {
        self.replies.iter().map(|line| line.len() + 1).sum::<usize>() > UNREAD_MAX
    }
}

/// Splits a text into lines as the server does. An incomplete line at the end is not one.
fn lines(text: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    loop {
        let end = match rest.iter().take(LINE_MAX).position(|&byte| byte == b'\n') {
            Some(index) => index + 1,
            None if rest.len() >= LINE_MAX => LINE_MAX,
            None => return lines,
        };
        let (line, after) = rest.split_at(end);
        let mut line = String::from_utf8_lossy(line).into_owned();
        line.retain(|c| !c.is_control());
        lines.push(line);
        rest = after;
    }
}

/// Returns what the text of the third member leads to.
fn talk(text: &[u8]) -> Talk {
    let mut nick = "guest3".to_owned();
    let mut talk = Talk { relayed: vec![], replies: vec![], has_quit: false };
    for line in lines(text) {
        let mut words = line.splitn(2, ' ');
        let (command, rest) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let line = match command {
            "" if rest.is_empty() => continue,
            "/quit" => {
                talk.has_quit = true;
                return talk;
            }
            "/who" => {
                talk.replies.push(format!("* here are [\"guest1\", \"guest2\", {nick:?}]"));
                continue;
            }
            "/nick" => {
                let fits = !rest.is_empty() && rest.len() <= 20 && rest.split_whitespace().eq([rest]);
                if !fits || rest.starts_with("guest") || rest == nick {
                    talk.replies.push("* a nick is one short word that is not taken".to_owned());
                    continue;
                }
                let line = format!("* {nick} is now {rest}");
                nick = rest.to_owned();
                // The member receives it, too.
                talk.replies.push(line.clone());
                line
            }
            _ => format!("{nick}: {line}"),
        };
        talk.relayed.push(Relayed { line, nick: nick.clone() });
    }
    talk
}

/// Returns the lines that a member has received: those of the second member, and all others.
fn received(world: &World, member: Host<Received>) -> (Vec<String>, Vec<String>) {
    let text = std::str::from_utf8(&world.state(member).text).expect("what is relayed is UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "lines are complete");
    let lines = text.split_terminator('\n').map(str::to_owned);
    lines
        .inspect(|line| assert!(!line.contains(|c: char| c.is_control())))
        .partition(|line| line.starts_with("guest2: "))
}

/// Checks the lines that another member has received since the third joined, without those of the second.
fn check_others(received: &[String], talk: &Talk, script: &Script) {
    let joined = received.iter().position(|line| line == "* guest3 has joined");
    let mut received = received[joined.expect("the third has joined") + 1..].iter().peekable();
    let mut expected = talk.relayed.iter().peekable();
    let mut nick = "guest3";
    while let Some(next) = expected.next_if(|next| received.next_if(|line| **line == next.line).is_some()) {
        nick = &next.nick;
    }
    let (orderly, stays) = (script.is_orderly() && !talk.may_be_dropped(), script.stays() && !talk.has_quit);
    assert_eq!(expected.next_if(|_| orderly).map(|next| &next.line), None, "every line was received");
    let left = received.next_if(|line| **line == format!("* {nick} has left"));
    assert!(
        left.is_some() != stays || talk.may_be_dropped(),
        "only a member that leaves is announced to have left"
    );
    assert_eq!(received.collect::<Vec<_>>(), ["* guest4 has joined"], "the chat still works");
}

/// Checks the lines that the third member has received in reply.
fn check_replies(received: &[String], talk: &Talk) {
    let [joined, help, replies @ ..] = received else { panic!("only {received:?} was received") };
    assert!(joined == "* guest3 has joined" && help.starts_with("* commands: "));
    let replies = replies.iter().filter(|line| *line != "* guest4 has joined");
    assert!(replies.eq(&talk.replies), "replies come in the order of the commands");
}

/// The target.
pub fn chat(bytes: &[u8]) {
    let Some(script) = Script::new(bytes, TEXT_MAX) else { return };
    let talk = talk(&script.text());
    let mut world = script.world();
    // As the example's `main` does.
    world.set_options(Options::new().read_buffer(2048));
    let server = world.host("chat", chat_server::Chat::default(), |lp, _| {
        lp.on_failure(|_, _, _| Ok(()));
        chat_server::serve(lp, &format!("0.0.0.0:{PORT}")).map(drop)
    });
    let server = server.expect("the server starts");
    world.set_options(Options::new());
    let first = Script::plain(vec![], Ending::Stays).join(&mut world, server, PORT);
    let wait_for = |world: &mut World, joined: &str| {
        let announced =
            |world: &mut World| String::from_utf8_lossy(&world.state(first).text).contains(joined);
        world.run_until(SETTLING, announced).expect("a new member is announced");
    };
    wait_for(&mut world, "* guest1 has joined\n");
    let lines: Vec<String> = (0..LINES).map(|number| format!("line {number}\n")).collect();
    let second = Script::plain(lines, Ending::Stays).join(&mut world, server, PORT);
    wait_for(&mut world, "* guest2 has joined\n");
    let third = script.join(&mut world, server, PORT);
    world.run_for(script.duration() + SETTLING).expect("nothing fails");
    Script::plain(vec![], Ending::Stays).join(&mut world, server, PORT);
    world.run_for(SETTLING).expect("nothing fails");
    world.verify();

    let (of_second, others) = received(&world, first);
    let expected = (0..LINES).map(|number| format!("guest2: line {number}"));
    assert!(
        of_second.iter().eq(&expected.collect::<Vec<_>>()),
        "whatever the third does, the second is relayed"
    );
    check_others(&others, &talk, &script);
    let (of_second, others) = received(&world, second);
    assert!(of_second.is_empty());
    check_others(&others, &talk, &script);
    if script.is_orderly() && !talk.has_quit && !talk.may_be_dropped() {
        check_replies(&received(&world, third).1, &talk);
    }
}
