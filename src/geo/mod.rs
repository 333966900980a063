//! Address → location → place: the geography database, the well-known cloud regions and the client map.
