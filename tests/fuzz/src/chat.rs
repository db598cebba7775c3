//! The chat of `examples/`: whatever one of its members sends, in whatever pieces, the others read what its rules say, and
//! each other.
//!
//! What they should read is found anew here, from the whole text.

use std::time::Duration;

use ringback::{
    Options,
    sim::{Host, World},
};

use crate::network::{Ending, Heard, Script};

#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)]
#[path = "../../examples/chat.rs"]
mod chat_server;

const PORT: u16 = 7;
/// One that is longer is cut.
const LINE_MAX: usize = 2048;
/// Lines of the member who is not up to anything.
const LINES: usize = 20;
/// With names of twenty letters, and one letter a line, the others have twelve times as much to read: less than they may
/// owe the server before it drops them.
const TEXT_MAX: usize = 16 << 10;
/// Who has more than so much to read at once may be dropped: half of what the server says.
const UNREAD_MAX: usize = 128 << 10;
/// Everything has been read by then.
const SETTLING: Duration = Duration::from_secs(5);

/// A line that all the others read, and what the one who said it is called from then on.
#[derive(Debug)]
struct Said {
    line: String,
    nick: String,
}

/// What a member has to say for himself.
struct Talk {
    said: Vec<Said>,
    answers: Vec<String>,
    has_quit: bool,
}

impl Talk {
    fn may_drown(&self) -> bool {
        self.answers.iter().map(|line| line.len() + 1).sum::<usize>() > UNREAD_MAX
    }
}

/// Cuts a text into lines, as they are read; what is left at its end is none.
fn lines(text: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    loop {
        let end = match rest.iter().take(LINE_MAX).position(|&byte| byte == b'\n') {
            Some(place) => place + 1,
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

/// What comes of a text that the third member sends, after `guest1` and `guest2`.
fn talk(text: &[u8]) -> Talk {
    let mut nick = "guest3".to_owned();
    let mut talk = Talk { said: vec![], answers: vec![], has_quit: false };
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
                talk.answers.push(format!("* here are [\"guest1\", \"guest2\", {nick:?}]"));
                continue;
            }
            "/nick" => {
                let fits = !rest.is_empty() && rest.len() <= 20 && rest.split_whitespace().eq([rest]);
                if !fits || rest.starts_with("guest") || rest == nick {
                    talk.answers.push("* a nick is one short word that is not taken".to_owned());
                    continue;
                }
                let line = format!("* {nick} is now {rest}");
                nick = rest.to_owned();
                // He is told of it, too.
                talk.answers.push(line.clone());
                line
            }
            _ => format!("{nick}: {line}"),
        };
        talk.said.push(Said { line, nick: nick.clone() });
    }
    talk
}

/// What one has heard, whole, line by line; and of that, what the second member said, and what anybody else did.
fn heard(world: &World, who: Host<Heard>) -> (Vec<String>, Vec<String>) {
    let text = std::str::from_utf8(&world.state(who).text).expect("what is relayed is UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "lines are whole");
    let lines = text.split_terminator('\n').map(str::to_owned);
    lines
        .inspect(|line| assert!(!line.contains(|c: char| c.is_control())))
        .partition(|line| line.starts_with("guest2: "))
}

/// What one of the others has heard of everybody but the second, since the third has joined.
fn check_others(heard: &[String], talk: &Talk, script: &Script) {
    let joined = heard.iter().position(|line| line == "* guest3 has joined");
    let mut heard = heard[joined.expect("the third has joined") + 1..].iter().peekable();
    let mut expected = talk.said.iter().peekable();
    let mut nick = "guest3";
    while let Some(said) = expected.next_if(|said| heard.next_if(|line| **line == said.line).is_some()) {
        nick = &said.nick;
    }
    let (orderly, stays) = (script.is_orderly() && !talk.may_drown(), script.stays() && !talk.has_quit);
    assert_eq!(expected.next_if(|_| orderly).map(|said| &said.line), None, "all that was said was heard");
    let left = heard.next_if(|line| **line == format!("* {nick} has left"));
    assert!(left.is_some() != stays || talk.may_drown(), "who leaves is said to have left, and nobody else");
    assert_eq!(heard.collect::<Vec<_>>(), ["* guest4 has joined"], "and the chat goes on");
}

/// What the third has heard, of whom it is known what it should be.
fn check_answers(heard: &[String], talk: &Talk) {
    let [joined, help, answers @ ..] = heard else { panic!("he has heard {heard:?}") };
    assert!(joined == "* guest3 has joined" && help.starts_with("* commands: "));
    let answers = answers.iter().filter(|line| *line != "* guest4 has joined");
    assert!(answers.eq(&talk.answers), "answers come in the order of the questions");
}

/// The target.
pub fn chat(bytes: &[u8]) {
    let Some(script) = Script::new(bytes, TEXT_MAX) else { return };
    let talk = talk(&script.text());
    let mut world = script.world();
    // As its `main` does.
    world.set_options(Options::new().read_buffer(2048));
    let server = world.host("chat", chat_server::Chat::default(), |lp, _| {
        lp.on_failure(|_, _, _| Ok(()));
        chat_server::serve(lp, &format!("0.0.0.0:{PORT}")).map(drop)
    });
    let server = server.expect("it starts");
    world.set_options(Options::new());
    let first = Script::plain(vec![], Ending::Stays).joins(&mut world, server, PORT);
    let knows = |world: &mut World, joined: &str| {
        let heard = |world: &mut World| String::from_utf8_lossy(&world.state(first).text).contains(joined);
        world.run_until(SETTLING, heard).expect("who joins is announced");
    };
    knows(&mut world, "* guest1 has joined\n");
    let lines: Vec<String> = (0..LINES).map(|number| format!("line {number}\n")).collect();
    let second = Script::plain(lines, Ending::Stays).joins(&mut world, server, PORT);
    knows(&mut world, "* guest2 has joined\n");
    let third = script.joins(&mut world, server, PORT);
    world.run_for(script.duration() + SETTLING).expect("nothing fails");
    Script::plain(vec![], Ending::Stays).joins(&mut world, server, PORT);
    world.run_for(SETTLING).expect("nothing fails");
    world.verify();

    let (of_second, others) = heard(&world, first);
    let expected = (0..LINES).map(|number| format!("guest2: line {number}"));
    assert!(
        of_second.iter().eq(&expected.collect::<Vec<_>>()),
        "whatever the third does, the second is heard"
    );
    check_others(&others, &talk, &script);
    let (of_second, others) = heard(&world, second);
    assert!(of_second.is_empty());
    check_others(&others, &talk, &script);
    if script.is_orderly() && !talk.has_quit && !talk.may_drown() {
        check_answers(&heard(&world, third).1, &talk);
    }
}
