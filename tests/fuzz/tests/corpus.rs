//! Replays the corpus: what fuzzing has found, and inputs that differ in what they reach.

use std::{fs, io, path::Path};

use ringback_fuzz::{TARGETS, run};

fn replay(name: &str) -> io::Result<usize> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    for path in &paths {
        // The test harness shows it if the run fails.
        println!("{}", path.display());
        run(name, &fs::read(path)?);
    }
    Ok(paths.len())
}

macro_rules! replayed {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() -> io::Result<()> {
            assert!(replay($name)? > 0, "the corpus is empty");
            Ok(())
        })*

        #[test]
        fn every_target_is_replayed() {
            let known: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(known, [$($name),*]);
        }
    };
}

replayed! {
    a_chat_is_what_its_rules_say: "chat",
    deadlines_behave_like_a_sorted_map: "deadlines",
    an_http_server_answers_each_head_and_nothing_else: "http",
    a_job_queue_behaves_like_a_list: "job_queue",
    an_mpsc_queue_behaves_like_a_list: "mpsc",
    the_contract_with_programs_is_kept: "programs",
    the_system_watches_exactly_what_is_wanted: "registrations",
    rounds_behave_like_an_ordered_list: "rounds",
    a_send_queue_behaves_like_bytes_and_a_list_of_marks: "send_queue",
    a_table_behaves_like_a_map_of_every_handle: "table",
}
