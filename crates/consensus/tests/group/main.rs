//! Groups of one and of several on real folders: what was answered is there again, whatever happened in between.

#![allow(clippy::unwrap_used)]

mod backup;
mod cluster;
mod crash;
mod damage;
mod endurance;
mod helpers;
mod restart;
mod running;
