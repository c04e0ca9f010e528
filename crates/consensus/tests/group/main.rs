//! A group of one on a real folder: what was answered is there again, whatever happened in between.

#![allow(clippy::unwrap_used)]

mod crash;
mod damage;
mod helpers;
mod restart;
mod running;
