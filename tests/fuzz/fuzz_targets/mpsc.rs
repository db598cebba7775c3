#![cfg_attr(fuzzing, no_main)]

ringback_fuzz::target!(mpsc);
